"""Copies of requests: sent to other arms, and what is learnt of their answers."""
