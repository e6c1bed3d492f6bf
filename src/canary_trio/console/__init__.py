"""The console: one page on which services are watched and led, and the API behind it."""
