"""The client of an etcd, with the methods of the store's own."""
