"""Commands that show what is so: `canary bench`."""
