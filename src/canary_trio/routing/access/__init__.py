"""Who may pass to a service, and who is refused: decided before a request is routed."""
