"""Both ends of the traffic: clients that look, and servers that say where they are."""
