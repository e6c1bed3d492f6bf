"""The rules of a document, compiled: the first one that holds; pure."""
