"""A handler as an ASGI application."""
