"""The journal: one JSON object a line, for journald, containers and people with jq."""

import sys
from datetime import UTC, datetime
from io import TextIOWrapper
from typing import Protocol, TextIO

import msgspec
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from mailgate.model.defect import describe_defect
from mailgate.model.journal import Journal

_encoder = msgspec.json.Encoder(enc_hook=str)


class LineJournal(Journal, Protocol):
    """A journal that also takes the lines of another one."""

    def write(self, line: str) -> None:
        """Write a line that another journal has made."""


class StreamJournal:
    """
    Writes events to a stream, each as one line.

    A stream that has gone away (a closed pipe, a full disk) costs the line, never the gateway.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def record(self, event: str, /, **fields: object) -> None:
        """Write the event with the time; fields that are None are left out."""
        self.write(_line(event, fields))

    def write(self, line: str) -> None:
        """Write a line that another journal has made, with its end."""
        try:
            self._stream.write(line)
            self._stream.flush()
        except (OSError, ValueError):
            # There is nowhere left to tell it.
            return


class LogJournal:
    """Writes events through Twisted's log, wherever ``twistd`` was told to keep it."""

    _log = Logger(namespace="mailgate")

    def record(self, event: str, /, **fields: object) -> None:
        """Log the event; fields that are None are left out."""
        self.write(_line(event, fields))

    def write(self, line: str) -> None:
        """Log a line that another journal has made."""
        self._log.info("{line}", line=line.rstrip("\n"))


class WorkerJournal:
    """Tells another journal, with the number of the worker that it comes from."""

    def __init__(self, journal: Journal, number: int) -> None:
        self._journal = journal
        self._number = number

    def record(self, event: str, /, **fields: object) -> None:
        """Note the event and the worker."""
        self._journal.record(event, worker=self._number, **fields)


class NoJournal:
    """Takes what nobody is to be told."""

    def record(self, event: str, /, **fields: object) -> None:
        """Note nothing."""


@implementer(ILogObserver)
class JournalObserver:
    """Turns what Twisted itself logs into lines of the journal, so that one stream has one form."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __call__(self, event: LogEvent) -> None:
        """Write a log event as ``log.<level>``, with the type and place of its failure where it has one."""
        level = event.get("log_level", LogLevel.info)
        failure = event.get("log_failure")
        self._journal.record(
            f"log.{level.name}",
            source=event.get("log_namespace"),
            text=formatEvent(event),
            defect=_described(failure) if isinstance(failure, Failure) else None,
        )


def _described(failure: Failure) -> str:
    if failure.value is None:
        return "unknown"
    return describe_defect(failure.value, failure.getTracebackObject())


def standard_output_journal() -> StreamJournal:
    """Return the journal on standard output, in UTF-8 (RFC 8259 section 8.1) whatever the locale says."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    return StreamJournal(sys.stdout)


def standard_output_observer() -> JournalObserver:
    """Return the observer that ``twistd -n mailgate`` logs with."""
    return JournalObserver(standard_output_journal())


def _line(event: str, fields: dict[str, object]) -> str:
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told = {name: value for name, value in fields.items() if value is not None}
    try:
        return _encoder.encode({"time": time, "event": event, **told}).decode() + "\n"
    except UnicodeEncodeError:
        # Python reads file names that are not UTF-8 as lone surrogates, which JSON can't carry.
        told = {name: str(value).encode(errors="backslashreplace").decode() for name, value in told.items()}
        return _encoder.encode({"time": time, "event": event, **told}).decode() + "\n"
