"""What is noted while requests are served."""
