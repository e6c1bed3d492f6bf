"""HTTP/2, by hypercorn."""
