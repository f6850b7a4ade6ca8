"""Values that every room shares: no I/O, standard library only."""
