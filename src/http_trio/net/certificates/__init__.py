"""Certificates: what stands in them, which one a client is shown, and where they lie."""
