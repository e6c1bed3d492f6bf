"""The judge of a rollout: whether a canary is worse than its baseline. Pure."""
