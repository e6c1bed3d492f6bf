"""A service watched live: what is known of it, and how that is shown."""
