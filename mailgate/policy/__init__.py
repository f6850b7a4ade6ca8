"""Pure decisions: who a certificate is, and what that client may send."""
