"""``mailgate ca``: the company's own certificate authority on the command line."""

import click


@click.group("ca")
def group() -> None:
    """Issue and list the certificates of servers and clients."""
