"""Who acts for a service: one proxy at a time, by a lock."""
