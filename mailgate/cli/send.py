"""``mailgate send``: submit one message over HTTPS, for people without curl."""

import click


@click.command("send")
def command() -> None:
    """Submit one message to a gateway."""
