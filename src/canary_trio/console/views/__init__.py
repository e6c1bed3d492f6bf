"""What the console shows, made of what store and proxies say. Pure."""
