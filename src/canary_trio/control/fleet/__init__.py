"""The proxies of a service: what each says of itself, and what is known of one that is gone."""
