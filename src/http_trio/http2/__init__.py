"""HTTP/2 in the event loop: framing by ngh2, and streams as exchanges (RFC 9113)."""
