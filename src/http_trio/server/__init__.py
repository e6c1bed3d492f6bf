"""The client's side: accepting, connections, exchanges."""
