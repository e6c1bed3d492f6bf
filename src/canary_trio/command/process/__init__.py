"""The proxy as operating-system processes."""
