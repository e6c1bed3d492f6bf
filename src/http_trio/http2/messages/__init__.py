"""Messages between HTTP/2 and HTTP/1.1, both ways, pure."""
