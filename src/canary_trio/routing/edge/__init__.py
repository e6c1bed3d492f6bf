"""Which service a request is for: the table of a gateway, read and compiled; pure."""
