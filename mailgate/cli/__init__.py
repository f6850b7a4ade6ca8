"""The ``mailgate`` command: each subcommand is a module here, registered by one line below."""

import click

import mailgate
from mailgate.cli import ca, check, demo, explain, queue, renew, send


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(mailgate.__version__, prog_name="mailgate")
def main() -> None:
    """Run, try and look after a mail gateway."""


main.add_command(ca.group)
main.add_command(check.command)
main.add_command(demo.command)
main.add_command(explain.command)
main.add_command(queue.group)
main.add_command(renew.command)
main.add_command(send.command)
