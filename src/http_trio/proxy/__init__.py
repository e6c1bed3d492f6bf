"""Between the two: a request passed on, and its response passed back."""
