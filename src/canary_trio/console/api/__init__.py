"""The API: what is asked becomes values, and what comes of it JSON."""
