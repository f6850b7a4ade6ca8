"""A whole gateway on one machine, to look at and to try: certificates, an internal server, a first message."""
