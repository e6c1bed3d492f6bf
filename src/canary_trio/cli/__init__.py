"""The command `canary`."""
