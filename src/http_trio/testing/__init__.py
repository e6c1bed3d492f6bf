"""Peers made of raw sockets, for tests of servers and proxies."""
