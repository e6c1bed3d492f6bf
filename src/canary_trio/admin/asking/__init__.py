"""Asking an admin listener: who may, and how commands do."""
