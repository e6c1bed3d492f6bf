"""An arm's servers: their health, their places, whose turn it is."""
