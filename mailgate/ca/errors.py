"""What this room raises."""


class CertificateAuthorityError(Exception):
    """A certificate can't be issued or a file can't be used; the text is one sentence for the operator."""
