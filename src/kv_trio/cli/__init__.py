"""The command `kv-trio`."""
