"""The state machine of the store. Pure."""
