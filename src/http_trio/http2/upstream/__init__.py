"""Servers that are spoken to in HTTP/2: many requests over one connection."""
