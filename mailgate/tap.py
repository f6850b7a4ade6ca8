"""``twistd mailgate``: its options, and the service that they make."""

import sys
from types import TracebackType
from typing import cast

from twisted.application.service import IService
from twisted.logger import Logger
from twisted.python import usage

from mailgate.compose import Reactor, compose
from mailgate.ops.journal import LineJournal, LogJournal, standard_output_journal
from mailgate.services import StartError
from mailgate.settings import Settings, SettingsError, find_settings, load_settings
from mailgate.steady import steady_clock

_log = Logger()

_STANDARD_OUTPUT = "mailgate.ops.journal.standard_output_observer"


class Options(usage.Options):
    """
    The command line of ``twistd mailgate``.

    Whatever keeps the gateway from starting ends the process here or in `makeService`, with one sentence on
    standard error and exit status 1: twistd's own ways are a page of usage and a traceback.
    """

    synopsis = "[--config FILE]"
    longdesc = (
        "Takes mail from outside services and devices that hold a client certificate, "
        "and delivers it to an internal SMTP server."
    )
    optParameters = [  # noqa: RUF012 - Twisted collects these from a list
        ["config", "c", None, "Settings file [default: ./mailgate.toml, else /etc/mailgate/mailgate.toml]"],
    ]

    settings: Settings
    journal: LineJournal

    def postOptions(self) -> None:
        """Load the settings, and choose where the journal goes."""
        try:
            self.settings = load_settings(find_settings(self["config"]))
        except SettingsError as error:
            sys.exit(f"mailgate: {error}")
        self.journal = LogJournal()
        twistd = self.parent
        if twistd is not None and _logs_to_standard_output(twistd):
            twistd["logger"] = _STANDARD_OUTPUT
            self.journal = standard_output_journal()


def makeService(options: Options) -> IService:
    """Return the gateway as one service, its certificates and keys loaded and nothing listening yet."""
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it, and twistd chooses which

    # Twisted's own is the calendar's, which may be set: every timer would fire at once, or none for hours.
    reactor.seconds = steady_clock()  # type: ignore[method-assign]
    sys.excepthook = _tell_start_errors
    try:
        return compose(options.settings, cast("Reactor", reactor), options.journal)
    except StartError as error:
        sys.exit(f"mailgate: {error}")


def _logs_to_standard_output(twistd: usage.Options) -> bool:
    elsewhere = ("logfile", "logger", "syslog")
    return bool(twistd.get("nodaemon")) and not any(twistd.get(option) for option in elsewhere)


def _tell_start_errors(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """
    Show a StartError as its sentence alone.

    twistd lets it pass through, tidies up its PID file, and exits with 1; only the traceback is not for
    the operator. By then `sys.stderr` leads into the log, where the sentence belongs too: in the background
    there is nobody at the other end of the real one.
    """
    if isinstance(error, StartError) and sys.__stderr__ is not None:
        _log.critical("{sentence}", sentence=error)
        sys.__stderr__.write(f"mailgate: {error}\n")
    else:
        sys.__excepthook__(kind, error, trace)
