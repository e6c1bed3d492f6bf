"""Sources: where documents come from, each behind the same protocol."""
