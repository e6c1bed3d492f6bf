"""Requests that wait for a change, and the answers that they get."""
