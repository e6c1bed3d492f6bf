"""What a running proxy shows of itself."""
