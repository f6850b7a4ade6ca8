"""From a file's text to the settings of every component, or one sentence that says what is wrong."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from msgspec import UNSET, UnsetType

from mailgate.delivery.settings import Credentials, DeliverySettings, UpstreamSettings
from mailgate.doors.settings import EnrolmentSettings, HttpsSettings, LimitSettings, LinesSettings
from mailgate.model.retry import RetrySchedule
from mailgate.ops.settings import OpsSettings
from mailgate.policy.clients import ClientDirectory
from mailgate.policy.rules import ClientRules
from mailgate.queue.interface import QueueSettings
from mailgate.settings.clients import client_rules, parse_digest
from mailgate.settings.shape import read_shape
from mailgate.settings.tables import (
    DeliveryTable,
    LimitsTable,
    QueueTable,
    SettingsFile,
    TlsTable,
    UpstreamTable,
)
from mailgate.settings.values import read
from mailgate.trust.settings import TrustSettings
from mailgate.wire.address import to_a_label
from mailgate.wire.units import parse_duration, parse_share, parse_size

DEFAULT_PATHS = (Path("mailgate.toml"), Path("/etc/mailgate/mailgate.toml"))

_SMTP_PORT, _SUBMISSIONS_PORT = 25, 465

_CLIENT_HEADER = re.compile(r"^[ \t]*\[clients\.([^\"'\]\n]+)\]", re.MULTILINE)
_BARE_KEY = re.compile(r"[A-Za-z0-9_.-]+")

Passwords = Mapping[Path, str]

T = TypeVar("T")
U = TypeVar("U")


class SettingsError(Exception):
    """The settings can't be used; the text is a sentence that names the file and the key."""


@dataclass(frozen=True, slots=True)
class Settings:
    """
    The whole of ``mailgate.toml`` at `path`, checked; `lines`, `est` and `ops` are None where those are off.

    Attributes:
        workers: how many processes serve.
        files: every file that was read, or is going to be, from `path` on.

    """

    path: Path
    hostname: str
    tls: TrustSettings
    limits: LimitSettings
    https: HttpsSettings
    lines: LinesSettings | None
    est: EnrolmentSettings | None
    ops: OpsSettings | None
    queue: QueueSettings
    delivery: DeliverySettings
    clients: tuple[ClientRules, ...]
    workers: int = 1
    files: tuple[Path, ...] = ()

    @property
    def passwords(self) -> "Passwords":
        """The passwords of upstreams, by their files."""
        logins = [each.credentials for each in self.delivery.upstreams if each.credentials is not None]
        return {login.file: login.password for login in logins if login.file is not None}

    @property
    def keys(self) -> tuple[Path, ...]:
        """The files of private keys that are read at the start alone."""
        upstreams = (each.private_key for each in self.delivery.upstreams)
        return (self.tls.private_key, *(key for key in upstreams if key is not None))

    def after_reload(self, other: "Settings") -> "Settings":
        """Return these with what a reload takes of the others, and the rest as it was at the start."""
        return replace(self, tls=other.tls, limits=other.limits, clients=other.clients, files=other.files)


def find_settings(given: str | None) -> Path:
    """Return the file to read: the given one, else the first default that exists. Raises SettingsError."""
    if given is not None:
        return Path(given)
    for path in DEFAULT_PATHS:
        if path.exists():
            return path
    listed = " nor ".join(str(path) for path in DEFAULT_PATHS)
    raise SettingsError(f"there is neither {listed}; name a settings file with --config FILE")


def load_settings(path: Path, known: Settings | None = None) -> Settings:
    """
    Read a settings file and what it names: passwords and clients' CAs, but no other certificates, and no queue.

    A password whose file may not be read any more, since privileges were dropped, is that of the `known` settings.
    Raises SettingsError.
    """
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text (octet {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}{_hint(text)}") from error
    try:
        return _assemble(path, read_shape(document), {} if known is None else known.passwords)
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from error


def _hint(text: str) -> str:
    """Return what may help where TOML is at a loss with a client's name, Korean ones above all."""
    for header in _CLIENT_HEADER.finditer(text):
        if not _BARE_KEY.fullmatch(header[1]):
            return f'; a name like this needs quotes: [clients."{header[1]}"]'
    return ""


def _assemble(path: Path, file: SettingsFile, known: Passwords) -> Settings:
    base = path.absolute().parent
    hostname = read("hostname", to_a_label, file.hostname)
    limits = _limits(file.limits)
    clients = tuple(client_rules(name, table, limits.max_message, base) for name, table in file.clients.items())
    ClientDirectory(clients)
    return Settings(
        path=path,
        hostname=hostname,
        tls=_tls(base, file.tls),
        limits=limits,
        https=HttpsSettings(listen=tuple(file.https.listen)),
        lines=None if file.lines is None else LinesSettings(listen=tuple(file.lines.listen)),
        est=None if file.est is None else EnrolmentSettings(base / file.est.ca, file.est.days),
        ops=None if file.ops is None else OpsSettings(listen=tuple(file.ops.listen)),
        queue=_queue(base, file.queue),
        delivery=DeliverySettings(
            hostname=hostname,
            upstreams=tuple(
                _upstream(base, number, table, known) for number, table in enumerate(file.upstream, start=1)
            ),
            schedule=_schedule(file.delivery),
            hold_unknown=file.delivery.outcome_unknown == "hold",
        ),
        clients=clients,
        workers=file.workers,
        files=(path.absolute(), *(base / name for name in _files_named(file))),
    )


def _files_named(file: SettingsFile) -> Iterator[str]:
    tls = file.tls
    optional = [tls.client_crl, *(client.ca for client in file.clients.values())]
    for upstream in file.upstream:
        optional += [upstream.ca, upstream.certificate, upstream.private_key, upstream.password_file]
    yield from (tls.certificate, tls.private_key, tls.client_ca)
    yield from (name for name in optional if name is not None)


def _tls(base: Path, table: TlsTable) -> TrustSettings:
    return TrustSettings(
        certificate=base / table.certificate,
        private_key=base / table.private_key,
        client_ca=base / table.client_ca,
        minimum=table.minimum,
        client_crl=None if table.client_crl is None else base / table.client_crl,
        expired_crl=table.expired_crl,
    )


def _limits(table: LimitsTable) -> LimitSettings:
    defaults = LimitSettings()
    return LimitSettings(
        max_message=_given("limits.max_message", parse_size, table.max_message, defaults.max_message),
        recipients=_or(table.recipients, defaults.recipients),
        request_head=_given("limits.request_head", parse_duration, table.request_head, defaults.request_head),
        connections=_or(table.connections, defaults.connections),
        connections_per_address=_or(table.connections_per_address, defaults.connections_per_address),
        connections_per_client=_or(table.connections_per_client, defaults.connections_per_client),
    )


def _queue(base: Path, table: QueueTable) -> QueueSettings:
    defaults = QueueSettings(url="")
    return QueueSettings(
        url=_queue_url(base, table.url),
        retention=_given("queue.retention", parse_duration, table.retention, defaults.retention),
        minimum_free_disk=_given(
            "queue.minimum_free_disk", parse_share, table.minimum_free_disk, defaults.minimum_free_disk
        ),
        maximum_messages=_or(table.maximum_messages, defaults.maximum_messages),
        maximum_age=_given("queue.maximum_age", parse_duration, table.maximum_age, defaults.maximum_age),
    )


def _queue_url(base: Path, url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "postgresql+psycopg":
        return url
    if scheme != "sqlite" or not separator or not rest.startswith("/") or rest == "/":
        # What was written isn't shown: it may hold a password.
        raise ValueError('queue.url must be "sqlite:///FILE" or "postgresql+psycopg://USER@HOST/DATABASE"')
    # The URL's reader undoes per cent signs and ends the path at a question mark.
    return f"sqlite:///{quote(str(base / rest[1:]))}"


def _upstream(base: Path, number: int, table: UpstreamTable, known: Passwords) -> UpstreamSettings:
    place = f"[[upstream]] number {number} ({table.host})"
    if (table.username is None) != (table.password_file is None):
        raise ValueError(f"{place} needs both username and password_file, or neither")
    if table.tls == "none" and table.username is not None:
        raise ValueError(f'{place} has a password but tls = "none": it would cross the network in the clear')
    if table.tls == "none" and table.ca is not None:
        raise ValueError(f'{place} has a ca but tls = "none": nothing would be checked against it')
    if (table.certificate is None) != (table.private_key is None):
        raise ValueError(f"{place} needs both certificate and private_key, or neither")
    if table.tls == "none" and (table.certificate is not None or table.pins):
        raise ValueError(f'{place} has a certificate or pins but tls = "none": they would not be used')
    credentials = None
    if table.username is not None and table.password_file is not None:
        file = base / table.password_file
        credentials = Credentials(table.username, _password(place, file, known.get(file)), file)
    default_port = _SUBMISSIONS_PORT if table.tls == "implicit" else _SMTP_PORT
    return UpstreamSettings(
        host=read(f"{place}: host", _host, table.host),
        port=_or(table.port, default_port),
        tls=table.tls,
        ca=None if table.ca is None else base / table.ca,
        certificate=None if table.certificate is None else base / table.certificate,
        private_key=None if table.private_key is None else base / table.private_key,
        pins=frozenset(read(f"{place}: pins", parse_digest, pin) for pin in table.pins),
        credentials=credentials,
        connections=table.connections,
    )


def _host(text: str) -> str:
    """Return an IP address, or a name as SNI has it (RFC 6066 section 3), which its certificate must carry."""
    try:
        return str(ip_address(text))
    except ValueError:
        return to_a_label(text.removesuffix("."))


def _password(place: str, file: Path, known: str | None) -> str:
    try:
        password = file.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        if known is not None and isinstance(error, PermissionError):
            return known
        raise ValueError(f"{place}: the password file {file} can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # The error would carry the file's octets, and with them the secret.
        raise ValueError(f"{place}: the password file {file} is not UTF-8 text") from None
    if not password:
        raise ValueError(f"{place}: the password file {file} is empty")
    return password


def _schedule(table: DeliveryTable) -> RetrySchedule:
    first = read("delivery.first_retry", parse_duration, table.first_retry)
    longest = read("delivery.longest_retry", parse_duration, table.longest_retry)
    if first > longest:
        raise ValueError("delivery.first_retry is longer than delivery.longest_retry")
    give_up_after = read("delivery.give_up_after", parse_duration, table.give_up_after)
    return RetrySchedule(first=first, longest=longest, give_up_after=give_up_after)


def _given(key: str, parse: Callable[[str], T], value: str | UnsetType, default: T) -> T:
    return default if value is UNSET else read(key, parse, value)


def _or(value: U | UnsetType, default: U) -> U:
    return default if isinstance(value, UnsetType) else value
