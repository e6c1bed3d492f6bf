"""`canary verify`: load through changes, faults and rollbacks, and whether all of it was right."""
