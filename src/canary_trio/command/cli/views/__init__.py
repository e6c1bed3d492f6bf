"""The commands that only look: at a document, at the fleet, at a request."""
