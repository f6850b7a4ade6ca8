"""An internal server that breaks SMTP in every way it knows, behaves well in between, and counts."""

import random
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STAGES = ("MAIL", "RCPT", "DATA", "the dot")
SLOW_OCTETS = 10
FLOOD = 10 * 1024 * 1024
PATIENCE = 60.0
"""Seconds without a command after which a connection is over."""

SESSION_TRICKS = (
    "drops at connect",
    "drops at greeting",
    "drops at EHLO",
    "drops at STARTTLS",
    "drops in TLS",
    "refuses greeting for now",
    "refuses greeting for good",
    "refuses EHLO for now",
    "refuses EHLO for good",
    "refuses STARTTLS",
    "offers no STARTTLS",
    "garbage for a greeting",
    "garbage for EHLO",
    "10 MB for a greeting",
    "endless EHLO",
    "slow greeting",
    "slow EHLO",
    "injects behind STARTTLS",
    "certificate of another name",
    "certificate of another CA",
    "speaks before it is asked",
    "small SIZE",
    "nonsense SIZE",
    "no 8BITMIME",
)
LOGIN_TRICKS = ("drops at AUTH", "refuses AUTH for now", "refuses AUTH for good", "garbage for AUTH")
MAIL_TRICKS = (
    *(f"{what} at {stage}" for stage in STAGES for what in ("drops", "4xx", "5xx", "421", "garbage", "10 MB")),
    *(f"{what} at {stage}" for stage in STAGES for what in ("endless", "slow", "two replies")),
    "354 to RCPT",
    "250 to DATA",
    "552 to the second RCPT",
    "drops in mid-content",
    "stores and drops",
    "stores and sends garbage",
    "stores and floods",
    "leaves when idle",
    "says 421 when idle",
)


class Left(Exception):  # noqa: N818 - no error: the session's end
    """The connection is to be closed now."""


@dataclass(frozen=True)
class Stored:
    """What one transaction stored: `told` unless the server kept its reply back."""

    message_id: str
    recipients: tuple[str, ...]
    told: bool


class HostileServer:
    """
    Listens on loopback; each connection draws its tricks from the seed, the port's `name` and its own number.

    Certificates are pairs of files: its own, one of another name, and one of another CA. With `login` it asks.
    """

    def __init__(
        self, name: str, certificates: Sequence[tuple[Path, Path]], *, seed: int, login: bool = False
    ) -> None:
        self.stored: list[Stored] = []
        self.tricks: Counter[str] = Counter()
        self.login = login
        self.contexts = [_context(*pair) for pair in certificates]
        self._seed = f"{seed}/{name}"
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._listen)]
        self._open: set[socket.socket] = set()
        self._threads[0].start()

    def note(self, trick: str) -> None:
        """Count a trick that was played."""
        with self._lock:
            self.tricks[trick] += 1

    def store(self, stored: Stored) -> None:
        """Keep what a transaction stored."""
        with self._lock:
            self.stored.append(stored)

    def stop(self) -> None:
        """Take no more connections, close those that are open."""
        # A thread that waits in accept() isn't woken by close().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _listen(self) -> None:
        for number in range(10**9):
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection, number))
            self._threads = [each for each in self._threads if each.is_alive()] + [thread]
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.settimeout(PATIENCE)
        chance = random.Random(f"{self._seed}/{number}")
        with self._lock:
            self._open.add(connection)
        session = Session(self, connection, chance)
        try:
            session.run()
        except (Left, OSError):
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            session.close()


class Session:
    """One connection, from the greeting to its end by either side."""

    def __init__(self, server: HostileServer, connection: socket.socket, chance: random.Random) -> None:
        self._server = server
        self._socket = connection
        self._chance = chance
        self._buffer = b""
        self._trick = ""
        tricks = SESSION_TRICKS + (LOGIN_TRICKS * 3 if server.login else ())
        if chance.random() < 0.3:
            self._trick = chance.choice(tricks)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def run(self) -> None:
        """Serve until either side has enough; raises Left or OSError at the end."""
        self._does("drops at connect", self._leave)
        self._does("speaks before it is asked", lambda: self._say("220 hello\r\n250 and more\r\n250 and more"))
        self._does("drops at greeting", lambda: self._leave("220 hos"))
        self._does("refuses greeting for now", lambda: self._leave("421 4.3.2 not now\r\n"))
        self._does("refuses greeting for good", lambda: self._leave("554 5.3.2 never\r\n"))
        self._does("garbage for a greeting", self._garbage)
        self._does("10 MB for a greeting", self._flood)
        self._say("220 hostile.example.com ESMTP", slow=self._does("slow greeting"))
        secure = logged_in = False
        for line in self._commands():
            verb = line[:4].upper()
            if verb == "EHLO":
                self._ehlo(secure=secure)
            elif verb == "STAR":
                self._starttls()
                secure = True
            elif verb == "AUTH":
                self._auth(line)
                logged_in = True
            elif verb == "MAIL" and secure and (logged_in or not self._server.login):
                self._transaction()
            elif verb == "QUIT":
                self._leave("221 2.0.0 bye\r\n")
            elif verb == "RSET":
                self._say("250 2.0.0 forgotten")
            else:
                self._say("503 5.5.1 not now")

    def _ehlo(self, *, secure: bool) -> None:
        # What is played before TLS stays a trouble of the session; what is offered under TLS meets messages.
        if not secure:
            self._does("drops at EHLO", self._leave)
            self._does("refuses EHLO for now", lambda: self._leave("421 4.3.2 not now\r\n"))
            self._does("refuses EHLO for good", lambda: self._leave("554 5.7.1 never\r\n"))
            self._does("garbage for EHLO", self._garbage)
            self._does("endless EHLO", self._endless)
        offered = ["hostile.example.com", "ENHANCEDSTATUSCODES", "SMTPUTF8"]
        offered += ["CHUNKING"] if self._chance.random() < 0.5 else []
        if not secure:
            offered += [] if self._does("offers no STARTTLS") else ["STARTTLS"]
        else:
            offered += ["AUTH PLAIN LOGIN"] if self._server.login else []
            offered += [] if self._does("no 8BITMIME") else ["8BITMIME"]
            offered += ["PIPELINING"] if self._chance.random() < 0.5 else []
            if self._does("small SIZE"):
                offered.append("SIZE 2000")
            elif self._does("nonsense SIZE"):
                offered.append("SIZE 99999999999999999999999999 -1 x")
            else:
                offered.append("SIZE 52428800")
        lines = [f"250-{each}" for each in offered]
        lines[-1] = lines[-1].replace("-", " ", 1)
        self._say("\r\n".join(lines), slow=not secure and self._does("slow EHLO"))

    def _starttls(self) -> None:
        self._does("drops at STARTTLS", self._leave)
        self._does("refuses STARTTLS", lambda: self._leave("454 4.7.0 no TLS today\r\n"))
        if self._does("injects behind STARTTLS"):
            self._say("220 go\r\n250-injected\r\n250 AUTH PLAIN")
        else:
            self._say("220 2.0.0 go")
        self._does("drops in TLS", self._leave)
        other = (
            1 if self._does("certificate of another name") else 2 if self._does("certificate of another CA") else 0
        )
        self._socket = self._server.contexts[other].wrap_socket(self._socket, server_side=True)

    def _auth(self, line: str) -> None:
        self._does("drops at AUTH", self._leave)
        self._does("refuses AUTH for now", lambda: self._leave("454 4.7.0 not now\r\n"))
        self._does("refuses AUTH for good", lambda: self._leave("535 5.7.8 never\r\n"))
        self._does("garbage for AUTH", self._garbage)
        if len(line.split()) == 2:
            self._say("334 ")
            next(self._commands())
        self._say("235 2.7.0 come in")

    def _transaction(self) -> None:
        """Take one message; its MAIL has been read."""
        trick = self._chance.choice(MAIL_TRICKS) if self._chance.random() < 0.15 else ""
        if trick:
            self._server.note(trick)
        sender = self._answer("MAIL", trick, "250 2.1.0 fine")
        recipients: list[str] = []
        for line in self._commands():
            verb = line[:4].upper()
            if verb == "RCPT":
                self._recipient(line, trick, recipients, sender=sender)
            elif verb == "BDAT":
                size = int(line.split()[1])
                # What is for DATA is for the one command that there is.
                trick = trick.replace(" at DATA", " at the dot")
                self._take(sender, recipients, trick, lambda size=size: self._read_octets(size))
                return
            elif verb == "DATA":
                if self._goes_on(trick, sender=sender, recipients=recipients):
                    self._take(sender, recipients, trick, self._read_content)
                return
            else:
                self._say("250 2.0.0 forgotten" if verb == "RSET" else "500 5.5.1 unknown")
                return

    def _goes_on(self, trick: str, *, sender: bool, recipients: Sequence[str]) -> bool:
        """Answer DATA; tell whether the message may come."""
        if not sender or not recipients:
            self._say("503 5.5.1 nobody to send it to")
            return False
        if trick == "250 to DATA":
            self._say("250 2.0.0 I have it already")
            self._rest()
        return self._answer("DATA", trick, "354 go on")

    def _take(self, sender: bool, recipients: Sequence[str], trick: str, read: Callable[[], bytes]) -> None:  # noqa: FBT001
        if trick == "drops in mid-content":
            if not self._buffer:
                self._read_some()
            self._leave()
        content = read()
        if not sender or not recipients:
            self._say("503 5.5.1 nobody to send it to")
            return
        self._content(content, recipients, trick)
        if trick == "says 421 when idle":
            self._leave("421 4.4.2 too quiet\r\n")
        if trick == "leaves when idle":
            self._leave()

    def _recipient(self, line: str, trick: str, recipients: list[str], *, sender: bool) -> None:
        if not sender:
            self._say("503 5.5.1 there is no sender")
        elif trick == "354 to RCPT":
            self._say("354 go on already")
            self._rest()
        elif trick == "552 to the second RCPT" and recipients:
            self._say("552 5.5.3 too many")
        elif self._answer("RCPT", trick if not recipients else "", "250 2.1.5 fine"):
            recipients.append(line.partition("<")[2].partition(">")[0])

    def _content(self, content: bytes, recipients: Sequence[str], trick: str) -> None:
        found = re.search(rb"^Message-ID:\s*(\S+)", content, re.MULTILINE | re.IGNORECASE)
        assert found is not None
        # After a reply too many nobody can tell which of them is the message's.
        told = not trick.startswith(("stores and", "two replies at MAIL", "two replies at RCPT"))
        stored = Stored(found[1].decode(), tuple(recipients), told)
        if trick.startswith("stores and"):
            self._server.store(stored)
            self._rest_of(trick)
        if trick == "two replies at the dot":
            # The first of them is the answer.
            self._server.store(stored)
            self._say("250 2.0.0 stored\r\n250 2.0.0 and once more")
        elif self._answer("the dot", trick, "250 2.0.0 stored", lambda: self._server.store(stored)):
            return

    def _rest_of(self, trick: str) -> None:
        if trick == "stores and sends garbage":
            self._garbage()
        if trick == "stores and floods":
            self._flood()
        self._leave()

    def _answer(self, stage: str, trick: str, good: str, before: Callable[[], None] | None = None) -> bool:
        """Answer the stage's command, by the trick if it's for this stage; tell whether the answer was good."""
        what = trick.removesuffix(f" at {stage}") if trick.endswith(f" at {stage}") else ""
        match what:
            case "drops":
                self._leave()
            case "421":
                self._leave("421 4.3.2 closing\r\n")
            case "garbage":
                self._garbage()
            case "10 MB":
                self._flood()
            case "endless":
                self._endless()
            case "4xx" | "5xx":
                code = what[0]
                self._say(f"{code}50 {code}.7.1 refused at {stage}")
                return False
        if before is not None:
            before()
        self._say(f"{good}\r\n{good}" if what == "two replies" else good, slow=what == "slow")
        return True

    def _does(self, trick: str, play: Callable[[], None] | None = None) -> bool:
        """Play the session's trick if it's this one, once; tell whether it was."""
        if self._trick != trick:
            return False
        self._trick = ""
        self._server.note(trick)
        if play is not None:
            play()
        return True

    def _say(self, reply: str, *, slow: bool = False) -> None:
        octets = reply.encode() + b"\r\n"
        if slow:
            for octet in octets[:SLOW_OCTETS]:
                self._socket.sendall(bytes([octet]))
                time.sleep(1.0)
            octets = octets[SLOW_OCTETS:]
        self._socket.sendall(octets)

    def _garbage(self) -> None:
        self._socket.sendall(self._chance.randbytes(self._chance.randrange(1, 4000)) + b"\r\n")
        self._leave()

    def _flood(self) -> None:
        self._socket.sendall(b"250-" + b"x" * FLOOD)
        self._leave()

    def _endless(self) -> None:
        for number in range(FLOOD // 16):
            self._socket.sendall(f"250-line {number}\r\n".encode() * 16)
        self._leave()

    def _rest(self) -> None:
        """Read what comes until the other side has understood."""
        for _ in range(1000):
            self._read_some()
        self._leave()

    def _leave(self, last: str = "") -> None:
        with suppress(OSError):
            self._socket.sendall(last.encode())
        raise Left

    def _commands(self) -> Iterator[str]:
        while True:
            while b"\r\n" not in self._buffer:
                self._read_some()
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            yield line.decode("utf-8", "surrogateescape")

    def _read_content(self) -> bytes:
        pieces = [self._buffer]
        tail = self._buffer
        while not tail.endswith(b"\r\n.\r\n"):
            self._buffer = b""
            self._read_some()
            pieces.append(self._buffer)
            tail = (tail + self._buffer)[-5:]
        self._buffer = b""
        return b"".join(pieces)

    def _read_octets(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._read_some()
        content, self._buffer = self._buffer[:size], self._buffer[size:]
        return content

    def _read_some(self) -> None:
        octets = self._socket.recv(65536)
        if not octets:
            raise Left
        self._buffer += octets


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
