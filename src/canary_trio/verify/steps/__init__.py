"""What each step of a plan does, to a fleet that is under load."""
