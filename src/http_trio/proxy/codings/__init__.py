"""Content codings: what a client takes, what may be encoded, and encoding as it comes."""
