"""One request on its way, and what outlives a configuration."""
