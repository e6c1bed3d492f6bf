"""What a proposed document would do to the requests that were seen; pure."""
