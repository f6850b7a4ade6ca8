"""
The server's side of ESMTP, strict where a lenient server would help to smuggle a second message.

It stands in for the internal mail server in the demo, the tests and the benchmark. Only CRLF ends a line
and only CRLF.CRLF ends a message (RFC 5321 section 4.1.1.4); content that holds a bare CR, a bare LF, a NUL
or an over-long line is read to its true end and refused.
"""

import re
import typing
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IAddress, IDelayedCall, IOpenSSLServerConnectionCreator, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

MAX_COMMAND_OCTETS = 2048
MAX_LINE_OCTETS = 998
MAX_RECIPIENTS = 1000
IDLE_SECONDS = 300.0

_PATH = re.compile(rb"(FROM|TO):\s*<([^<>\x00-\x20]*)>((?: [^ ]+)*) *", re.IGNORECASE)
_EIGHT_BIT = re.compile(rb"[\x80-\xff]")


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """
    One message as the server took it.

    Attributes:
        mail_from: the return path, empty for the null one.
        rcpt_to: the recipients in their order.
        options: the parameters of MAIL, like ``SIZE=2048``.
        tls: whether it came through TLS.
        content: the octets between DATA and the final dot, without the dots that were stuffed.

    """

    mail_from: str
    rcpt_to: tuple[str, ...]
    options: tuple[str, ...]
    tls: bool
    content: bytes


class Refused(Exception):  # noqa: N818 - a reply of the protocol, not an error of the program
    """The reply that a command or a message gets instead of a good one."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(f"{code} {enhanced} {text}")


def check_content(content: bytes, *, eight_bit: bool) -> None:
    """Raise Refused unless the octets are canonical lines that the transaction announced."""
    ends = content.count(b"\r\n")
    if content.count(b"\r") != ends or content.count(b"\n") != ends:
        raise Refused(554, "5.6.0", "bare CR or bare LF")
    if b"\0" in content:
        raise Refused(554, "5.6.0", "NUL in the message")
    if max(map(len, content.split(b"\r\n"))) > MAX_LINE_OCTETS:
        raise Refused(554, "5.6.0", f"line over {MAX_LINE_OCTETS} octets")
    if not eight_bit and _EIGHT_BIT.search(content):
        raise Refused(554, "5.6.1", "8-bit content without BODY=8BITMIME")


class Wire(typing.Protocol):
    """What the server needs of its connection."""

    disconnecting: bool

    def write(self, octets: bytes, /) -> None:
        """Send octets, some time soon."""

    def loseConnection(self) -> None:
        """Close once everything is sent."""

    def startTLS(self, context: IOpenSSLServerConnectionCreator, /) -> None:
        """Go on within TLS."""


class StrictServer(Protocol):
    """One connection; states and replies as RFC 5321 section 4 gives them."""

    _wire: Wire

    def __init__(self, factory: "StrictServerFactory") -> None:
        self._settings = factory
        self._buffer = bytearray()
        self._searched = 0
        self._reading_content = False
        self._too_large = False
        self._closing = False
        self._greeted = False
        self._tls = False
        self._idle: IDelayedCall | None = None
        self._verbs: dict[bytes, Callable[[bytes], str]] = {
            b"HELO": self._helo,
            b"EHLO": self._ehlo,
            b"STARTTLS": self._starttls,
            b"MAIL": self._mail,
            b"RCPT": self._rcpt,
            b"DATA": self._data,
            b"RSET": self._rset,
            b"NOOP": lambda _: "250 2.0.0 OK",
            b"VRFY": lambda _: "252 2.0.0 Send some mail and see",
            b"QUIT": self._quit,
        }
        self._forget()

    def connectionMade(self) -> None:
        """Greet."""
        assert self.transport is not None
        self._wire = typing.cast("Wire", self.transport)
        self._idle = self._settings.reactor.callLater(IDLE_SECONDS, self._idle_too_long)
        self._send(f"220 {self._settings.hostname} ESMTP")

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - Twisted's
        """Let go of the timer; a message without its final dot was never ours."""
        if self._idle is not None and self._idle.active():
            self._idle.cancel()

    def dataReceived(self, data: bytes) -> None:
        """Take commands and messages for as long as they are complete."""
        if self._idle is not None and self._idle.active():
            self._idle.reset(IDLE_SECONDS)
        self._buffer += data
        while not self._wire.disconnecting:
            taken = self._take_content() if self._reading_content else self._take_command()
            if not taken:
                return

    def _idle_too_long(self) -> None:
        self._send(f"421 4.4.2 {self._settings.hostname} you were silent for too long")
        self._wire.loseConnection()

    def _send(self, reply: str) -> None:
        self._wire.write(reply.encode() + b"\r\n")

    def _forget(self) -> None:
        self._sender: str | None = None
        self._options: tuple[str, ...] = ()
        self._recipients: list[str] = []

    def _take_command(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0 or end > MAX_COMMAND_OCTETS:
            if len(self._buffer) > MAX_COMMAND_OCTETS:
                self._send("500 5.5.2 command line too long")
                self._wire.loseConnection()
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        if b"\r" in line or b"\n" in line or b"\0" in line:
            self._send("500 5.5.2 bare CR, bare LF or NUL in a command")
            self._wire.loseConnection()
            return False
        verb, _, rest = line.partition(b" ")
        try:
            reply = self._verbs.get(verb.upper(), self._unknown)(rest.strip(b" "))
        except Refused as refused:
            reply = str(refused)
        if reply:
            self._send(reply)
        if self._closing:
            self._wire.loseConnection()
        return True

    def _unknown(self, _: bytes) -> str:
        raise Refused(500, "5.5.1", "unknown command")

    def _helo(self, _: bytes) -> str:
        self._greeted = True
        self._forget()
        return f"250 {self._settings.hostname}"

    def _ehlo(self, _: bytes) -> str:
        self._greeted = True
        self._forget()
        lines = [
            self._settings.hostname,
            f"SIZE {self._settings.max_size}",
            "8BITMIME",
            "SMTPUTF8",
            "PIPELINING",
            "ENHANCEDSTATUSCODES",
        ]
        if self._settings.context is not None and not self._tls:
            lines.append("STARTTLS")
        return "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])

    def _starttls(self, _: bytes) -> str:
        if self._settings.context is None or self._tls:
            raise Refused(503, "5.5.1", "no TLS here, or already within it")
        if self._buffer:
            self._closing = True
            raise Refused(503, "5.5.1", "nothing may follow STARTTLS before the handshake")
        self._send("220 2.0.0 go ahead")
        self._forget()
        self._greeted = False
        self._tls = True
        self._wire.startTLS(self._settings.context)
        return ""

    def _mail(self, rest: bytes) -> str:
        if not self._greeted:
            raise Refused(503, "5.5.1", "EHLO first")
        if self._settings.context is not None and not self._tls:
            raise Refused(530, "5.7.0", "STARTTLS first")
        if self._sender is not None:
            raise Refused(503, "5.5.1", "one MAIL at a time")
        path, options = _parse_path(b"FROM", rest)
        for option in options:
            keyword, _, value = option.partition("=")
            if keyword == "SIZE" and value.isdigit():
                if int(value) > self._settings.max_size:
                    raise Refused(552, "5.3.4", "message too large")
            elif option not in {"BODY=7BIT", "BODY=8BITMIME", "SMTPUTF8"}:
                raise Refused(555, "5.5.4", "unknown parameter")
        _check_utf8(path, options)
        self._sender, self._options = path, options
        return "250 2.1.0 OK"

    def _rcpt(self, rest: bytes) -> str:
        if self._sender is None:
            raise Refused(503, "5.5.1", "MAIL first")
        path, options = _parse_path(b"TO", rest)
        if options:
            raise Refused(555, "5.5.4", "unknown parameter")
        if not path:
            raise Refused(501, "5.1.3", "no recipient in the angle brackets")
        _check_utf8(path, self._options)
        if len(self._recipients) >= MAX_RECIPIENTS:
            raise Refused(452, "4.5.3", "too many recipients")
        self._recipients.append(path)
        return "250 2.1.5 OK"

    def _data(self, rest: bytes) -> str:
        if not self._recipients:
            raise Refused(503, "5.5.1", "RCPT first")
        if rest:
            raise Refused(501, "5.5.4", "DATA has no parameters")
        # The CRLF that ended DATA is also the one before the first line, where a lone dot may stand.
        self._buffer[:0] = b"\r\n"
        self._searched = 0
        self._reading_content = True
        self._too_large = False
        return "354 end with a lone dot"

    def _rset(self, _: bytes) -> str:
        self._forget()
        return "250 2.0.0 OK"

    def _quit(self, _: bytes) -> str:
        self._closing = True
        return "221 2.0.0 bye"

    def _take_content(self) -> bool:
        end = self._buffer.find(b"\r\n.\r\n", self._searched)
        if end < 0:
            if len(self._buffer) > self._settings.max_size * 2 + 1024:
                self._too_large = True
                del self._buffer[:-4]
            self._searched = max(0, len(self._buffer) - 4)
            return False
        content = bytes(self._buffer[: end + 2]).replace(b"\r\n.", b"\r\n")[2:]
        del self._buffer[: end + 5]
        self._reading_content = False
        self._send(self._keep(content))
        self._forget()
        return True

    def _keep(self, content: bytes) -> str:
        if self._too_large or len(content) > self._settings.max_size:
            return "552 5.3.4 message too large"
        message = ReceivedMessage(self._sender or "", tuple(self._recipients), self._options, self._tls, content)
        try:
            check_content(content, eight_bit="BODY=8BITMIME" in self._options)
            self._settings.keep(message)
        except Refused as refused:
            return str(refused)
        except OSError as error:
            return f"451 4.3.0 can't be kept: {error.strerror}"
        return "250 2.0.0 kept"


class StrictServerFactory(ServerFactory):
    """
    Makes a `StrictServer` for each connection.

    Given a context, the server offers STARTTLS and takes no mail without it. `keep` gets every message before
    its reply goes out; an OSError of it becomes a 451.
    """

    noisy = False

    def __init__(
        self,
        reactor: IReactorTime,
        keep: Callable[[ReceivedMessage], None],
        context: IOpenSSLServerConnectionCreator | None = None,
        *,
        hostname: str = "localhost",
        max_size: int = 64 * 1024 * 1024,
    ) -> None:
        self.reactor = reactor
        self.keep = keep
        self.context = context
        self.hostname = hostname
        self.max_size = max_size

    def buildProtocol(self, addr: IAddress | None) -> StrictServer:  # noqa: ARG002 - Twisted's
        """Return the protocol of a new connection."""
        return StrictServer(self)


def _parse_path(keyword: bytes, argument: bytes) -> tuple[str, tuple[str, ...]]:
    match = _PATH.fullmatch(argument)
    if match is None or match[1].upper() != keyword:
        raise Refused(501, "5.5.4", "syntax: " + keyword.decode() + ":<address>")
    try:
        path = match[2].decode()
        options = tuple(match[3].decode().upper().split())
    except UnicodeDecodeError:
        raise Refused(501, "5.5.4", "an address is UTF-8") from None
    return path, options


def _check_utf8(path: str, options: tuple[str, ...]) -> None:
    if not path.isascii() and "SMTPUTF8" not in options:
        raise Refused(553, "5.6.7", "an address beyond ASCII needs SMTPUTF8")
