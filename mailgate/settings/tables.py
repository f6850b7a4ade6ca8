"""The tables of ``mailgate.toml`` as they are written; every key a table may have is a field here."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=1)]
File = Annotated[str, Meta(min_length=1, pattern=r"^[^\x00]+$")]
Listen = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)]


class Table(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A TOML table whose keys are known by name."""


class TlsTable(Table, frozen=True):
    """``[tls]``."""

    certificate: File
    private_key: File
    client_ca: File
    client_crl: File | None = None
    expired_crl: Literal["refuse", "use"] = "refuse"
    minimum: Literal["TLSv1.2", "TLSv1.3"] = "TLSv1.2"


class LimitsTable(Table, frozen=True):
    """``[limits]``."""

    max_message: str | UnsetType = UNSET
    recipients: Count | UnsetType = UNSET
    request_head: str | UnsetType = UNSET
    connections: Count | UnsetType = UNSET
    connections_per_address: Count | UnsetType = UNSET
    connections_per_client: Count | UnsetType = UNSET


class HttpsTable(Table, frozen=True):
    """``[https]``."""

    listen: Listen = field(default_factory=lambda: ["tcp:8443"])


class LinesTable(Table, frozen=True):
    """``[lines]``."""

    listen: Listen = field(default_factory=lambda: ["tcp:8465"])


class OpsTable(Table, frozen=True):
    """``[ops]``."""

    listen: Listen = field(default_factory=lambda: ["tcp:9180:interface=127.0.0.1"])


class EstTable(Table, frozen=True):
    """``[est]``."""

    ca: File
    days: Annotated[int, Meta(ge=1, le=3650)] = 90


class QueueTable(Table, frozen=True):
    """``[queue]``."""

    url: File
    retention: str | UnsetType = UNSET
    minimum_free_disk: str | UnsetType = UNSET
    maximum_messages: Count | UnsetType = UNSET
    maximum_age: str | UnsetType = UNSET


class UpstreamTable(Table, frozen=True):
    """``[[upstream]]``."""

    host: Annotated[str, Meta(min_length=1)]
    port: Port | UnsetType = UNSET
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    ca: File | None = None
    certificate: File | None = None
    private_key: File | None = None
    pins: list[str] = field(default_factory=list)
    username: str | None = None
    password_file: File | None = None
    connections: Count = 10


class DeliveryTable(Table, frozen=True):
    """``[delivery]``."""

    give_up_after: str = "5 days"
    first_retry: str = "30s"
    longest_retry: str = "1 hour"
    outcome_unknown: Literal["retry", "hold"] = "retry"


class ClientTable(Table, frozen=True):
    """``[clients.NAME]``."""

    senders: Annotated[list[str], Meta(min_length=1)]
    certificates: list[str] | None = None
    ca: File | None = None
    recipients: list[str] = field(default_factory=lambda: ["*"])
    doors: Annotated[list[Literal["https", "lines"]], Meta(min_length=1)] | None = None
    rate: str | None = None
    quota: str | None = None
    max_message: str | None = None
    bounces: str | None = None
    enabled: bool = True


class SettingsFile(Table, frozen=True):
    """The whole file."""

    hostname: Annotated[str, Meta(min_length=1)]
    tls: TlsTable
    queue: QueueTable
    upstream: Annotated[list[UpstreamTable], Meta(min_length=1)]
    clients: Annotated[dict[str, ClientTable], Meta(min_length=1)]
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    limits: LimitsTable = field(default_factory=LimitsTable)
    https: HttpsTable = field(default_factory=HttpsTable)
    lines: LinesTable | None = None
    est: EstTable | None = None
    ops: OpsTable | None = None
    delivery: DeliveryTable = field(default_factory=DeliveryTable)
