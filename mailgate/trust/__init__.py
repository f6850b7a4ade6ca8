"""TLS contexts and certificates: from a handshake to a peer that the rest of the house can name."""
