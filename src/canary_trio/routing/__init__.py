"""Which arm a request gets, and why. Pure."""
