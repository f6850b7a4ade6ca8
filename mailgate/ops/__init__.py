"""What an operator sees: the journal."""
