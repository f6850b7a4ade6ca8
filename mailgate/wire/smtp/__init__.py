"""SMTP as a client writes and reads it (RFC 5321 and its extensions): octets in, values out, no I/O."""
