"""Heads rendered for servers, and what comes again of heads looked at once. Pure."""
