"""What the operators' listener is told of the settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OpsSettings:
    """The ``[ops]`` table: Twisted server endpoint strings."""

    listen: tuple[str, ...]
