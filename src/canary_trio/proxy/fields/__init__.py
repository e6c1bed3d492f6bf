"""What of a request's fields and target goes on, and what is added to them. Pure."""
