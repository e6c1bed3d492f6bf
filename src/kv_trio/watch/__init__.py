"""Who waits for a change, and what each is sent."""
