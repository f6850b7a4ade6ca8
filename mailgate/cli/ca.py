"""``mailgate ca``: the company's own certificate authority on the command line."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from mailgate.ca.authority import (
    DEFAULT_CA_DAYS,
    DEFAULT_LEAF_DAYS,
    CertificateAuthority,
    ClientRequest,
    Issued,
    utc_now,
)
from mailgate.ca.crl import REASONS
from mailgate.ca.errors import CertificateAuthorityError
from mailgate.ca.issue import KeyType
from mailgate.ca.listing import ListedCertificate, UnreadableFile, alternative_names, listed
from mailgate.ca.revoking import DEFAULT_CRL_DAYS, ListWritten, Revoking
from mailgate.cli.tables import table

DEFAULT_CA_NAME = "mailgate CA"
DEFAULT_INTERMEDIATE_NAME = "mailgate issuing CA"
_MAX_DAYS = 36525

_directory = click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("certs"),
    show_default=True,
    help="Where the certificates and keys are.",
)
_leaf_days = click.option(
    "--days",
    type=click.IntRange(1, _MAX_DAYS),
    default=DEFAULT_LEAF_DAYS,
    show_default=True,
    help="Lifetime from now.",
)
_crl_days = click.option(
    "--days",
    type=click.IntRange(1, _MAX_DAYS),
    default=DEFAULT_CRL_DAYS,
    show_default=True,
    help="When the next list is due at the latest, from now.",
)
_key_type = click.option(
    "--key-type",
    type=click.Choice([kind.value for kind in KeyType]),
    default=KeyType.EC.value,
    show_default=True,
    help="P-256, or RSA of 3072 bits.",
)
_force = click.option("--force", is_flag=True, help="Replace files that are there.")


@click.group("ca")
def group() -> None:
    """Issue, revoke and list the certificates of servers and clients."""


@group.command("init")
@_directory
@click.option("--name", default=DEFAULT_CA_NAME, show_default=True, help="The CN of the CA.")
@click.option(
    "--days", type=click.IntRange(1, _MAX_DAYS), help=f"Lifetime from now.  [default: {DEFAULT_CA_DAYS}]"
)
@_key_type
@_force
@click.option("--reissue", is_flag=True, help="Renew the certificate of the CA that is there, under the same key.")
@click.pass_context
def init(
    context: click.Context,
    directory: Path,
    name: str,
    days: int | None,
    key_type: str,
    *,
    force: bool,
    reissue: bool,
) -> None:
    """
    Make a certificate authority: ca.crt and ca.key.

    With --reissue the CA that is there, made by any program, gets a new certificate under the same key and name:
    longer valid, and with the keyUsage that newer clients demand. Each certificate it issued stays valid.
    """
    if reissue:
        for option in ("name", "key_type", "force"):
            if context.get_parameter_source(option) is not click.core.ParameterSource.DEFAULT:
                given = option.replace("_", "-")
                raise click.UsageError(f"--reissue keeps the name and the key: it goes without --{given}.")
    authority = CertificateAuthority(directory)
    with _plain_errors():
        if reissue:
            _report([authority.reissue(days)])
        else:
            lifetime = DEFAULT_CA_DAYS if days is None else days
            _report([authority.create(name, KeyType(key_type), lifetime, force=force)])


@group.command("intermediate")
@click.argument("target", metavar="DIRECTORY", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", default=DEFAULT_INTERMEDIATE_NAME, show_default=True, help="The CN of the new CA.")
@_directory
@click.option(
    "--days", type=click.IntRange(1, _MAX_DAYS), default=1825, show_default=True, help="Lifetime from now."
)
@_key_type
@_force
def intermediate(target: Path, name: str, directory: Path, days: int, key_type: str, *, force: bool) -> None:
    """
    Make a CA in DIRECTORY that is issued by the one in --dir: ca.crt, ca.key, and both certificates in chain.crt.

    It can sign where the root's key should not be, as on a gateway that renews certificates. Clients' certificates
    issued by it are good wherever chain.crt is trusted.
    """
    with _plain_errors():
        root = CertificateAuthority(directory)
        _report([CertificateAuthority(target).create_below(root, name, KeyType(key_type), days, force=force)])


@group.command("server")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--ip", "addresses", metavar="ADDRESS", multiple=True, help="An IP address it is reached by; repeatable."
)
@click.option("--file", "file_name", default="server", show_default=True, help="The files' name, without ending.")
@_directory
@_leaf_days
@_key_type
@_force
def server(
    names: tuple[str, ...],
    addresses: tuple[str, ...],
    file_name: str,
    directory: Path,
    days: int,
    key_type: str,
    *,
    force: bool,
) -> None:
    """Issue one certificate for a server that is reached by each NAME: server.crt and server.key."""
    authority = CertificateAuthority(directory)
    with _plain_errors():
        _report([authority.issue_server(names, addresses, file_name, KeyType(key_type), days, force=force)])


@group.command("client")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--dns", metavar="NAME", multiple=True, help="A DNS name to carry; repeatable.  [default: NAME itself]"
)
@click.option("--uri", "uris", metavar="URI", multiple=True, help="A URI to carry, as spiffe://…; repeatable.")
@_directory
@_leaf_days
@_key_type
@_force
def client(
    names: tuple[str, ...],
    dns: tuple[str, ...],
    uris: tuple[str, ...],
    directory: Path,
    days: int,
    key_type: str,
    *,
    force: bool,
) -> None:
    """Issue a certificate to each client NAME, its unique id: NAME.crt and NAME.key."""
    if len(names) > 1 and (dns or uris):
        raise click.UsageError("--dns and --uri name one client: issue these certificates one at a time.")
    authority = CertificateAuthority(directory)
    with _plain_errors():
        requests = [ClientRequest(name, dns, uris) for name in names]
        _report(authority.issue_clients(requests, KeyType(key_type), days, force=force))


@group.command("revoke")
@click.argument("whom", metavar="NAME|SERIAL")
@click.option(
    "--reason",
    type=click.Choice(list(REASONS)),
    default="unspecified",
    show_default=True,
    help="Why it is revoked.",
)
@_directory
@_crl_days
def revoke(whom: str, reason: str, directory: Path, days: int) -> None:
    """
    Revoke each valid certificate of NAME, or the one of a SERIAL number: ca.crl.

    A gateway whose settings have it as client_crl takes it within ten seconds, and ends their live connections.
    """
    with _plain_errors():
        written = Revoking(CertificateAuthority(directory)).revoke(whom, reason, days)
    for certificate in written.added:
        click.echo(f"revoked {certificate.subject.rfc4514_string()}, serial {certificate.serial_number:x}")
    _report_list(written)


@group.command("crl")
@click.option(
    "--renew", is_flag=True, help="Only if less than half of its time is left, for a timer that runs every day."
)
@_directory
@_crl_days
def revocation_list(directory: Path, days: int, *, renew: bool) -> None:
    """Write the list of what was revoked anew: ca.crl."""
    revoking = Revoking(CertificateAuthority(directory))
    with _plain_errors():
        written = revoking.renew(days, only_if_due=renew)
    if written is None:
        click.echo(f"{revoking.list_file} is not due yet.")
    else:
        _report_list(written)


@group.command("list")
@_directory
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
def list_certificates(directory: Path, *, as_json: bool) -> None:
    """List the certificates of the directory, those issued by other means too."""
    with _plain_errors():
        entries = listed(directory, utc_now())
    if as_json:
        click.echo(json.dumps([_as_json(entry) for entry in entries], ensure_ascii=False, indent=2))
        return
    header = ("FILE", "KIND", "CN", "NAMES", "SERIAL", "NOT AFTER", "DAYS LEFT", "STATE")
    for line in table([header, *map(_row, entries)]):
        click.echo(line)


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except CertificateAuthorityError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        raise click.ClickException(f"{where}{error.strerror or error}.") from error


def _report(issued: Iterable[Issued]) -> None:
    notes: dict[str, None] = {}
    for each in issued:
        names = ", ".join(alternative_names(each.certificate))
        subject = each.certificate.subject.rfc4514_string()
        until = each.certificate.not_valid_after_utc
        about = "; ".join(part for part in (subject, names, f"until {until:%Y-%m-%d}") if part)
        click.echo(f"{each.certificate_file}, {each.key_file}: {about}")
        notes |= dict.fromkeys(each.notes)
    for note in notes:
        click.echo(note, err=True)


def _report_list(written: ListWritten) -> None:
    due = written.list.next_update_utc
    assert due is not None
    count = len(written.list)
    click.echo(f"{written.file}: {count} revoked; the next one is due by {due:%Y-%m-%d}")


def _as_json(entry: ListedCertificate | UnreadableFile) -> dict[str, object]:
    if isinstance(entry, UnreadableFile):
        return {"file": entry.file, "state": "unreadable", "reason": entry.reason}
    return {
        **asdict(entry),
        "not_before": entry.not_before.isoformat(),
        "not_after": entry.not_after.isoformat(),
    }


def _row(entry: ListedCertificate | UnreadableFile) -> tuple[str, ...]:
    if isinstance(entry, UnreadableFile):
        return (entry.file, "-", "-", "-", "-", "-", "-", f"unreadable: {entry.reason}")
    return (
        entry.file,
        entry.kind,
        entry.common_name or "-",
        ", ".join(entry.names) or "-",
        entry.serial,
        f"{entry.not_after:%Y-%m-%d}",
        str(entry.days_left),
        entry.state,
    )
