"""The mail log as the rooms see it: they tell what happened, ops writes it down."""

from typing import Protocol


class Journal(Protocol):
    """Takes one event at a time; never raises, never blocks for long."""

    def record(self, event: str, /, **fields: object) -> None:
        """
        Note that `event` (lower case with dots, like ``message.accepted``) happened.

        Fields are JSON values; None is left out. Never pass message content, keys or passwords.
        """
