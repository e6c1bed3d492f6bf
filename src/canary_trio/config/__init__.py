"""The document: values, and JSON to values and back. Pure."""
