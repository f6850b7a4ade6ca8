"""The line door: Twisted glue around `mailgate.wire.lines`."""

from mailgate.doors.lines.door import LineDoor, make_line_door

__all__ = ["LineDoor", "make_line_door"]
