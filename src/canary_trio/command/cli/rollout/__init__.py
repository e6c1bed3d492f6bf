"""The commands of a rollout."""
