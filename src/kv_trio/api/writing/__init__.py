"""Writes of clients: queued, answered, and told to the audit log."""
