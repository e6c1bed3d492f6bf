"""Who a client is: passwords, and questions to a server that knows."""
