"""The words of Consul's HTTP API, written and read. Pure."""
