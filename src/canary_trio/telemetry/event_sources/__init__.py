"""What tells events of which requests know nothing: arms, and what is only counted."""
