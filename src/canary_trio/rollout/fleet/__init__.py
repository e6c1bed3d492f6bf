"""What a fleet's proxies count for the judge, and how that becomes its ticks. Pure."""
