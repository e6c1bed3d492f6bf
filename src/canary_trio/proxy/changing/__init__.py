"""What goes on while a change is under way: long connections, and a document that is tried."""
