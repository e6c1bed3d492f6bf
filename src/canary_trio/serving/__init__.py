"""The proxy as a service: one service, or many behind a gateway."""
