"""Sockets and the event loop that serves them."""
