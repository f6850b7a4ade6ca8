"""The authority in a directory: ``ca.crt`` and ``ca.key``, and next to them what it issued."""

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from mailgate.ca import files, issue, names, stored
from mailgate.ca.errors import CertificateAuthorityError
from mailgate.ca.issue import Issuer, KeyType, LeafKey, Purpose

DEFAULT_CA_DAYS = 3650
DEFAULT_LEAF_DAYS = 397
"""A year and a month: below the 398 days past which some clients refuse a server's certificate."""

ISSUED = "issued"
"""The folder that keeps a copy of each certificate ever issued, by serial number: revoking one needs no more."""


def utc_now() -> datetime.datetime:
    """Return the time in UTC, in whole seconds as certificates have it."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """What a client certificate is to say; with no names given, the DNS name is the id itself."""

    name: str
    dns: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Issued:
    """What was written, and sentences that the operator should read."""

    certificate_file: Path
    key_file: Path
    certificate: x509.Certificate
    notes: tuple[str, ...] = ()


class CertificateAuthority:
    """
    A certificate authority that lives in one directory.

    Every method that writes does so wholly or not at all, and raises CertificateAuthorityError when asked to
    replace a file without `force`, or OSError when the disk refuses. Lifetimes are in days from now. Another
    process that is at work in the directory is waited for, `lock_seconds` at most if that is given.
    """

    def __init__(
        self,
        directory: Path,
        clock: Callable[[], datetime.datetime] = utc_now,
        lock_seconds: float | None = None,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._lock_seconds = lock_seconds

    def now(self) -> datetime.datetime:
        """Return the authority's time."""
        return self._clock()

    @property
    def certificate_file(self) -> Path:
        """Where the CA's certificate is."""
        return self._directory / "ca.crt"

    @property
    def key_file(self) -> Path:
        """Where the CA's private key is."""
        return self._directory / "ca.key"

    def create(self, common_name: str, key_type: KeyType, days: int, *, force: bool) -> Issued:
        """Make a new CA in the directory, which is created with mode 0700 where it is missing."""
        subject = names.common_name(common_name)
        files.make_directory(self._directory)
        with files.locked(self._directory):
            self._refuse_to_replace(
                (self.certificate_file, self.key_file),
                force=force,
                how="--reissue renews the certificate under the same key, "
                "--force makes a new CA that no certificate issued so far belongs to",
            )
            key = issue.new_key(key_type)
            certificate = issue.new_ca(key, subject, self._clock(), days)
            files.write_all([_key_file(self.key_file, key), _certificate_file(self.certificate_file, certificate)])
        return Issued(self.certificate_file, self.key_file, certificate, self._notes_on_directory())

    def reissue(self, days: int | None) -> Issued:
        """
        Renew the CA's certificate under the same key, with the keyUsage that newer clients demand of a CA.

        Each certificate it issued stays valid. Without `days` it lasts as long as a new CA or the old certificate,
        whichever ends later. Raises CertificateAuthorityError when an unreadable or foreign CA can't be renewed.
        """
        with self._opened():
            issuer = stored.issuer(self.certificate_file, self.key_file, self._clock(), renewing=True)
            lifetime = DEFAULT_CA_DAYS if days is None else days
            certificate = issue.reissued_ca(issuer, self._clock(), lifetime, shorten=days is not None)
            files.write_all([_certificate_file(self.certificate_file, certificate)])
        return Issued(self.certificate_file, self.key_file, certificate)

    def create_below(
        self, root: "CertificateAuthority", common_name: str, key_type: KeyType, days: int, *, force: bool
    ) -> Issued:
        """
        Make a CA in the directory that is issued by the `root`, so that the root's key can be elsewhere.

        Beside ``ca.crt`` with the certificate alone, ``chain.crt`` has the root's too.
        """
        subject = names.common_name(common_name)
        if root.certificate_file.resolve() == self.certificate_file.resolve():
            raise CertificateAuthorityError(f"{self._directory} is the root's own folder: name another one.")
        files.make_directory(self._directory)
        chain_file = self._directory / "chain.crt"
        with files.locked(self._directory):
            self._refuse_to_replace(
                (self.certificate_file, self.key_file, chain_file), force=force, how="--force replaces it"
            )
            key = issue.new_key(key_type)
            with root.issuing() as issuer:
                certificate = issue.new_intermediate(issuer, key, subject, self._clock(), days)
                root.keep([certificate])
            pem = issue.certificate_pem(certificate) + issue.certificate_pem(issuer.certificate)
            files.write_all(
                [
                    _key_file(self.key_file, key),
                    _certificate_file(self.certificate_file, certificate),
                    files.NewFile(chain_file, pem, files.CERTIFICATE_MODE),
                ]
            )
        return Issued(self.certificate_file, self.key_file, certificate, self._notes_on_directory())

    def keep(self, certificates: Iterable[x509.Certificate]) -> None:
        """Keep copies of issued certificates, by which they can be revoked. Raises OSError."""
        issued = self._directory / ISSUED
        issued.mkdir(files.DIRECTORY_MODE, exist_ok=True)
        files.write_all(self._copies(certificates))

    def _copies(self, certificates: Iterable[x509.Certificate]) -> list[files.NewFile]:
        return [
            _certificate_file(self._directory / ISSUED / f"{each.serial_number:x}.crt", each)
            for each in certificates
        ]

    def issue_server(
        self,
        server_names: Sequence[str],
        addresses: Sequence[str],
        file_name: str,
        key_type: KeyType,
        days: int,
        *,
        force: bool,
    ) -> Issued:
        """Issue one certificate for all of `server_names` (DNS names or IP addresses) and IP `addresses`."""
        stem = names.file_name(file_name)
        if stem.casefold() == "ca":
            raise CertificateAuthorityError(
                "A server's files can't be called ca: they would replace the CA's own."
            )
        alternatives = _unique([*map(names.server_name, server_names), *map(names.ip_name, addresses)])
        if not alternatives:
            raise CertificateAuthorityError("A server certificate needs a host name or an IP address.")
        first = str(alternatives[0].value)
        subject = first if len(first) <= names.MAX_COMMON_NAME else None
        with self.issuing() as issuer:
            self._refuse_to_replace(self._leaf_files(stem), force=force, how="--force replaces it")
            key = issue.new_key(key_type)
            certificate = issue.new_leaf(issuer, key, subject, alternatives, Purpose.SERVER, self._clock(), days)
            self._write_leaves(issuer, [(stem, key, certificate)])
        return self._issued(stem, issuer, certificate, days)

    def issue_clients(
        self, requests: Sequence[ClientRequest], key_type: KeyType, days: int, *, force: bool
    ) -> list[Issued]:
        """Issue a certificate to each client, good for clientAuth only: to all, or on any fault to none."""
        wanted = [(names.client_name(request.name), _client_alternatives(request)) for request in requests]
        if len({stem.casefold() for stem, _ in wanted}) < len(wanted):
            raise CertificateAuthorityError("A client is named twice, or two names differ in case only.")
        with self.issuing() as issuer:
            for stem, _ in wanted:
                self._refuse_to_replace(self._leaf_files(stem), force=force, how="--force replaces it")
            leaves = []
            for stem, alternatives in wanted:
                key = issue.new_key(key_type)
                certificate = issue.new_leaf(issuer, key, stem, alternatives, Purpose.CLIENT, self._clock(), days)
                leaves.append((stem, key, certificate))
            self._write_leaves(issuer, leaves)
        return [self._issued(stem, issuer, certificate, days) for stem, _, certificate in leaves]

    @contextmanager
    def issuing(self) -> Iterator[Issuer]:
        """Hold the directory alone, with the CA's certificate and key. Raises CertificateAuthorityError."""
        with self._opened():
            yield stored.issuer(self.certificate_file, self.key_file, self._clock(), renewing=False)

    def issued(self) -> list[x509.Certificate]:
        """Return each certificate of this CA that lies in the directory, or of which a copy is kept."""
        [authority] = stored.certificates_in(self.certificate_file)[:1]
        paths = sorted(self._directory.glob("*.crt")) + sorted((self._directory / ISSUED).glob("*.crt"))
        every = (certificate for path in paths for certificate in stored.certificates_in(path))
        found = {each.serial_number: each for each in every if each.issuer == authority.subject}
        found.pop(authority.serial_number, None)
        return list(found.values())

    def _opened(self) -> AbstractContextManager[None]:
        if not self.certificate_file.exists():
            raise CertificateAuthorityError(f"{self.certificate_file} is missing: `mailgate ca init` makes a CA.")
        return files.locked(self._directory, self._lock_seconds)

    def _leaf_files(self, stem: str) -> tuple[Path, Path]:
        return self._directory / f"{stem}.crt", self._directory / f"{stem}.key"

    def _refuse_to_replace(self, paths: Iterable[Path], *, force: bool, how: str) -> None:
        for path in paths:
            if path.is_dir():
                raise CertificateAuthorityError(f"{path} is a directory.")
            if not force and (path.exists() or path.is_symlink()):
                raise CertificateAuthorityError(f"{path} exists already: {how}.")

    def _write_leaves(self, issuer: Issuer, leaves: Sequence[tuple[str, LeafKey, x509.Certificate]]) -> None:
        # Whoever trusts the root alone needs the certificate in between.
        ca = issuer.certificate
        between = b"" if ca.subject == ca.issuer else issue.certificate_pem(ca)
        issued = self._directory / ISSUED
        issued.mkdir(files.DIRECTORY_MODE, exist_ok=True)
        batch: list[files.NewFile] = []
        for stem, key, certificate in leaves:
            certificate_file, key_file = self._leaf_files(stem)
            kept = (*stored.certificates_in(certificate_file)[:1], certificate)
            batch += self._copies(kept)
            content = issue.certificate_pem(certificate) + between
            batch.append(_key_file(key_file, key))
            batch.append(files.NewFile(certificate_file, content, files.CERTIFICATE_MODE))
        files.write_all(batch)

    def _issued(self, stem: str, issuer: Issuer, certificate: x509.Certificate, days: int) -> Issued:
        notes = []
        ca_ends = issuer.certificate.not_valid_after_utc
        # A day of tolerance: a leaf of as many days as the CA, issued just after it, is no news to anyone.
        if self._clock() + datetime.timedelta(days=days - 1) > ca_ends:
            notes.append(
                f"Shortened to {ca_ends:%Y-%m-%d}, the end of the CA itself; "
                "`mailgate ca init --reissue` renews the CA.",
            )
        if issue.lacks_key_usage(issuer.certificate):
            notes.append(
                f"{self.certificate_file} has no keyUsage, so newer clients (Python 3.13 for one) refuse it; "
                "`mailgate ca init --reissue` mends that and keeps each certificate valid.",
            )
        return Issued(*self._leaf_files(stem), certificate, tuple(notes))

    def _notes_on_directory(self) -> tuple[str, ...]:
        mode = self._directory.stat().st_mode & 0o777
        if mode & 0o077:
            return (f"{self._directory} is open to others (mode {mode:04o}): `chmod 700 {self._directory}`.",)
        return ()


def _client_alternatives(request: ClientRequest) -> list[x509.GeneralName]:
    given: list[x509.GeneralName] = [x509.DNSName(names.dns_name(name)) for name in request.dns]
    given += [x509.UniformResourceIdentifier(names.uri_name(uri)) for uri in request.uris]
    if given:
        return _unique(given)
    try:
        return [x509.DNSName(names.dns_name(request.name))]
    except CertificateAuthorityError as error:
        raise CertificateAuthorityError(
            f"{request.name!r} is not a host name, so the certificate needs another name to carry: "
            "give --dns NAME or --uri URI.",
        ) from error


def _unique(alternatives: Iterable[x509.GeneralName]) -> list[x509.GeneralName]:
    return list(dict.fromkeys(alternatives))


def _key_file(path: Path, key: LeafKey) -> files.NewFile:
    return files.NewFile(path, issue.key_pem(key), files.KEY_MODE)


def _certificate_file(path: Path, certificate: x509.Certificate) -> files.NewFile:
    return files.NewFile(path, issue.certificate_pem(certificate), files.CERTIFICATE_MODE)
