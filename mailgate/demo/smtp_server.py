"""
``python -m mailgate.demo.smtp_server``: an internal mail server on loopback that keeps what it gets as files.

A message becomes ``NAME.eml``, the very octets that came after DATA without their stuffed dots, and
``NAME.json``, its envelope. Files appear whole: they are written aside and renamed, the envelope first.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTCP, IReactorTime
from twisted.internet.task import LoopingCall, react
from zope.interface import implementer

from mailgate.demo.esmtp import ReceivedMessage, StrictServerFactory

REPORT_SECONDS = 0.1


class MailFolder:
    """Keeps each message as two files of a directory, which it makes; raises OSError where it can't."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0
        directory.mkdir(parents=True, exist_ok=True)

    def keep(self, message: ReceivedMessage) -> None:
        """Write a message's files; names sort in the order of arrival."""
        self._count += 1
        name = f"{time.time_ns() // 1000}-{os.getpid()}-{self._count:06d}"
        envelope = {
            "mail_from": message.mail_from,
            "rcpt_to": message.rcpt_to,
            "options": message.options,
            "tls": message.tls,
        }
        self._write(f"{name}.json", json.dumps(envelope, ensure_ascii=False, indent=2).encode() + b"\n")
        self._write(f"{name}.eml", message.content)

    def _write(self, name: str, octets: bytes) -> None:
        aside = self._directory / f".{name}.part"
        aside.write_bytes(octets)
        aside.rename(self._directory / name)


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """TLS 1.2 and above with one certificate; raises SSL.Error where it and the key don't fit."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        self._context.use_certificate_chain_file(str(certificate))
        self._context.use_privatekey_file(str(key))
        self._context.check_privatekey()

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:  # noqa: ARG002 - Twisted's signature
        """Return the server's side of one connection."""
        return SSL.Connection(self._context, None)


class Counter:
    """Keeps only the number of messages, and says it on standard output as ``received N`` when it has grown."""

    def __init__(self) -> None:
        self._count = 0
        self._told = 0

    def keep(self, message: ReceivedMessage) -> None:  # noqa: ARG002 - the signature of MailFolder.keep
        """Count a message."""
        self._count += 1

    def tell(self) -> None:
        """Print the count unless it was the last one printed."""
        if self._count != self._told:
            self._told = self._count
            _say(f"received {self._count}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mailgate.demo.smtp_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0, the default, takes a free one")
    parser.add_argument("--directory", type=Path, help="where messages are kept")
    parser.add_argument("--count-only", action="store_true", help="keep nothing, print how many came")
    parser.add_argument("--certificate", type=Path, help="PEM file; with it STARTTLS is offered and required")
    parser.add_argument("--key", type=Path, help="PEM file of the certificate's private key")
    arguments = parser.parse_args(argv)
    if (arguments.directory is None) == (not arguments.count_only):
        parser.error("give --directory, or --count-only")
    if (arguments.certificate is None) != (arguments.key is None):
        parser.error("--certificate and --key go together")
    return arguments


async def serve(reactor: IReactorTCP, argv: Sequence[str]) -> None:
    """
    Listen until the reactor stops, and say ``listening on PORT`` once connections are taken.

    Raises SystemExit with one sentence where certificate, directory or port can't be used.
    """
    arguments = _arguments(argv)
    clock = IReactorTime(reactor)
    try:
        context = None if arguments.certificate is None else ServerTls(arguments.certificate, arguments.key)
        keep = _counter(clock) if arguments.count_only else MailFolder(arguments.directory).keep
        port = reactor.listenTCP(arguments.port, StrictServerFactory(clock, keep, context), interface="127.0.0.1")
    except SSL.Error:
        raise SystemExit(f"{arguments.certificate} and {arguments.key} are no certificate and its key") from None
    except CannotListenError as error:
        raise SystemExit(f"port {arguments.port} can't be listened on: {error.socketError}") from None
    except OSError as error:
        raise SystemExit(f"{error.filename}: {error.strerror}") from None
    address = port.getHost()
    assert isinstance(address, IPv4Address)
    _say(f"listening on {address.port}")
    await Deferred()


def _counter(clock: IReactorTime) -> Callable[[ReceivedMessage], None]:
    counter = Counter()
    report = LoopingCall(counter.tell)
    report.clock = clock
    report.start(REPORT_SECONDS)
    return counter.keep


if __name__ == "__main__":
    react(serve, (sys.argv[1:],))
