"""What certificates lie in a directory, ours and others', readable and not."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailgate.ca import files
from mailgate.ca.authority import ISSUED
from mailgate.ca.errors import CertificateAuthorityError

_ENDINGS = frozenset({".crt", ".pem", ".cer"})
_PEM_MARK = b"-----BEGIN"
_PURPOSES = {ExtendedKeyUsageOID.SERVER_AUTH: "server", ExtendedKeyUsageOID.CLIENT_AUTH: "client"}

_LABELS: dict[type[x509.GeneralName], str] = {
    x509.DNSName: "DNS",
    x509.UniformResourceIdentifier: "URI",
    x509.IPAddress: "IP",
    x509.RFC822Name: "email",
}


@dataclass(frozen=True, slots=True)
class ListedCertificate:
    """
    One certificate of the directory.

    Attributes:
        file: its path, relative to the directory.
        kind: ``ca``, ``server``, ``client``, ``server+client``, or ``other``.
        common_name: the subject's first CN, or empty.
        names: the subjectAltNames, as ``DNS:…``, ``IP:…``, ``URI:…``, ``email:…``.
        serial: the serial number in lower-case hex.
        fingerprint: SHA-256 of the DER in lower-case hex.
        not_before, not_after: the validity in UTC.
        days_left: whole days until not_after; negative once it has passed.
        state: ``valid``, ``expired``, ``not yet`` or ``revoked``.

    """

    file: str
    kind: str
    common_name: str
    names: tuple[str, ...]
    serial: str
    fingerprint: str
    not_before: datetime.datetime
    not_after: datetime.datetime
    days_left: int
    state: str


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that is named as a certificate and can't be read as one, with the reason."""

    file: str
    reason: str


def listed(directory: Path, now: datetime.datetime) -> list[ListedCertificate | UnreadableFile]:
    """
    Return the certificates of `directory`, and of those it issued the ones that lie nowhere else any more.

    A file that can't be read is an entry of its own, never an error. Raises OSError for the directory itself.
    """
    entries: list[ListedCertificate | UnreadableFile] = []
    seen: set[str] = set()
    revoked = _revoked(directory / "ca.crl")
    for path in _candidates(directory):
        name = str(path.relative_to(directory))
        try:
            described = [_described(name, certificate, now, revoked) for certificate in _certificates(path)]
        except OSError as error:
            entries.append(UnreadableFile(name, error.strerror or str(error)))
        except CertificateAuthorityError as error:
            entries.append(UnreadableFile(name, str(error)))
        except ValueError:
            entries.append(UnreadableFile(name, "not a well-formed certificate"))
        else:
            kept = path.parent != directory
            entries += [entry for entry in described if not (kept and entry.fingerprint in seen)]
            seen |= {entry.fingerprint for entry in described}
    return entries


def _candidates(directory: Path) -> Iterator[Path]:
    """Yield the files to look at: the CA first, then by name, then the issued ones."""
    here = sorted(directory.iterdir(), key=lambda path: (path.name != "ca.crt", path.name))
    issued = directory / ISSUED
    there = sorted(issued.iterdir()) if issued.is_dir() else []
    for path in (*here, *there):
        if path.suffix.lower() in _ENDINGS and not path.name.startswith(".") and not path.is_dir():
            yield path


def _certificates(path: Path) -> list[x509.Certificate]:
    content = files.read(path)
    if _PEM_MARK not in content:
        return [x509.load_der_x509_certificate(content)]
    if b"CERTIFICATE-----" not in content:
        # A key in a .pem file is nothing to complain of.
        return []
    return x509.load_pem_x509_certificates(content)


def _revoked(path: Path) -> x509.CertificateRevocationList | None:
    try:
        return x509.load_pem_x509_crl(files.read(path))
    except (OSError, ValueError, CertificateAuthorityError):
        # Without a list nothing is revoked; what is wrong with it is told to whoever writes the next one.
        return None


def _state(
    certificate: x509.Certificate, now: datetime.datetime, revoked: x509.CertificateRevocationList | None
) -> str:
    if (
        revoked is not None
        and revoked.issuer == certificate.issuer
        and revoked.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
    ):
        return "revoked"
    if now < certificate.not_valid_before_utc:
        return "not yet"
    return "expired" if now > certificate.not_valid_after_utc else "valid"


def _described(
    file: str,
    certificate: x509.Certificate,
    now: datetime.datetime,
    revoked: x509.CertificateRevocationList | None,
) -> ListedCertificate:
    common_names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    not_before, not_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return ListedCertificate(
        file=file,
        kind=_kind(certificate.extensions),
        common_name=str(common_names[0].value) if common_names else "",
        names=alternative_names(certificate),
        serial=f"{certificate.serial_number:x}",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        not_before=not_before,
        not_after=not_after,
        days_left=(not_after - now).days,
        state=_state(certificate, now, revoked),
    )


def alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the subjectAltNames with their kind; raises ValueError when they are malformed."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(_labelled(name) for name in names)


def _labelled(name: x509.GeneralName) -> str:
    match name:
        case x509.DirectoryName():
            return f"dirName:{name.value.rfc4514_string()}"
        case x509.RegisteredID():
            return f"RID:{name.value.dotted_string}"
        case x509.OtherName():
            return f"otherName:{name.type_id.dotted_string}"
        case _:
            return f"{_LABELS[type(name)]}:{name.value}"


def _kind(extensions: x509.Extensions) -> str:
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return "ca"
    except x509.ExtensionNotFound:
        pass
    try:
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return "other"
    return "+".join(kind for oid, kind in _PURPOSES.items() if oid in purposes) or "other"
