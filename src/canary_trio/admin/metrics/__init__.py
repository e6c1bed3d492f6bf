"""What a proxy tells Prometheus."""
