"""The state on disk, by SQLite."""
