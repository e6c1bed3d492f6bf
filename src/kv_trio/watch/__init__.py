"""Requests that wait for a change, and the responses that they get."""
