"""Several processes that are one gateway: what the supervisor does, and what its workers share."""
