"""The client; it knows nothing of the server."""
