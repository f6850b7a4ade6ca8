"""Where the outside meets the gateway: Twisted glue between bytes and intake."""
