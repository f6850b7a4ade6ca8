"""Real processes for end-to-end tests: gateways, internal servers and a client, each in a temporary folder."""
