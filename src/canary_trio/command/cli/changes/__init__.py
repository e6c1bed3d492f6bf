"""The commands that write a document, or what belongs to it."""
