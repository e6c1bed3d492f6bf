"""Changes to a document: made of words, written, and waited for."""
