"""Accepting: the sockets that listen, and what clients are before they speak HTTP."""
