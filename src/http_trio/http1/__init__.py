"""HTTP/1.1 as bytes: heads, framing, bodies, our own responses. Pure."""
