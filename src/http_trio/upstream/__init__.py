"""The server's side: pooled connections to one server, and single requests."""
