"""What a request shows to routes, rules and keys, and a request as somebody describes it; pure."""
