"""What the operator starts: the commands, and the proxy as processes."""
