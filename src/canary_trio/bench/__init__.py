"""Two versions of a service under the same load, and what differs: `canary bench`."""
