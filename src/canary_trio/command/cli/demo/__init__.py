"""The command `canary demo`."""
