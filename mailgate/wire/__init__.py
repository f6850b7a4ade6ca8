"""Codecs without I/O: what clients and the upstream say, turned into values and back."""
