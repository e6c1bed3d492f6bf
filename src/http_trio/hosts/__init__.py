"""Addresses, networks and names of hosts, and whom a request means; pure."""
