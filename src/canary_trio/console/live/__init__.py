"""What pages look at, and how it comes to them: followed while somebody looks."""
