"""Revoking what an authority has issued: the list is a file beside its certificate."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mailgate.ca import crl, files
from mailgate.ca.authority import ISSUED, CertificateAuthority
from mailgate.ca.crl import Revocation
from mailgate.ca.errors import CertificateAuthorityError

DEFAULT_CRL_DAYS = 30

LARGEST_LIST = 64 * 1024 * 1024
"""Octets of a list: more than a million entries."""

_NOTE = ".revoked"


@dataclass(frozen=True, slots=True)
class ListWritten:
    """The list that was written: how many certificates it has, and those that were not in the one before."""

    file: Path
    list: x509.CertificateRevocationList
    added: tuple[x509.Certificate, ...] = ()


class Revoking:
    """
    The revocation list of the authority in a directory, ``ca.crl``.

    Methods that write do so wholly or not at all, and raise CertificateAuthorityError or OSError. Lifetimes are in
    days from now.
    """

    def __init__(self, authority: CertificateAuthority) -> None:
        self._authority = authority

    @property
    def _notes(self) -> Path:
        return self._authority.certificate_file.with_name(ISSUED)

    @property
    def list_file(self) -> Path:
        """Where the list is."""
        return self._authority.certificate_file.with_suffix(".crl")

    def revoke(self, whom: str, reason: str, days: int) -> ListWritten:
        """
        Revoke every certificate of that name that has not expired, or the one of that serial number (in hex).

        Raises CertificateAuthorityError where there is none, or all of them are revoked already.
        """
        with self._authority.issuing() as issuer:
            found = self._issued(whom)
            before, kept, now = self._read(), self._kept(), self._authority.now()
            listed, noted = _serials(before), {each.serial for each in kept}
            # What has a note and isn't in the list is due to be listed: the list may be an older one.
            added = [certificate for certificate in found if certificate.serial_number not in listed]
            if not added:
                raise CertificateAuthorityError(f"{whom} is revoked already.")
            fresh = [certificate.serial_number for certificate in added if certificate.serial_number not in noted]
            revoked = [Revocation(serial, reason, now) for serial in fresh]
            new = crl.new_list(issuer, before, [*kept, *revoked], now, days)
            self._write(new, revoked)
        return ListWritten(self.list_file, new, tuple(added))

    def has(self, serial: int) -> bool:
        """Tell whether a certificate is revoked, by the list and by the notes beside the copies."""
        return serial in _serials(self._read()) or any(each.serial == serial for each in self._kept())

    def renew(self, days: int, *, only_if_due: bool) -> ListWritten | None:
        """Write the list anew, or the first one; return None where that `only_if_due` is not."""
        with self._authority.issuing() as issuer:
            before = self._read()
            now = self._authority.now()
            complete = _serials(before).issuperset(each.serial for each in self._kept())
            if only_if_due and before is not None and complete and not crl.is_due(before, now):
                return None
            new = crl.new_list(issuer, before, self._kept(), now, days)
            self._write(new, ())
        return ListWritten(self.list_file, new)

    def _issued(self, whom: str) -> Sequence[x509.Certificate]:
        now = self._authority.now()
        every = self._authority.issued()
        alive = [each for each in every if each.not_valid_after_utc > now]
        named = [each for each in alive if whom in _common_names(each)]
        by_serial = [each for each in every if f"{each.serial_number:x}" == _plain_serial(whom)]
        if not (named or by_serial):
            raise CertificateAuthorityError(
                f"This CA has issued no certificate that is still valid to {whom!r}, nor one of that serial "
                "number, that is known here: `mailgate ca list` shows those that are."
            )
        return named or by_serial

    def _read(self) -> x509.CertificateRevocationList | None:
        if not self.list_file.exists():
            return None
        try:
            return x509.load_pem_x509_crl(files.read(self.list_file, LARGEST_LIST))
        except ValueError as error:
            raise CertificateAuthorityError(f"{self.list_file} holds no readable CRL in PEM form.") from error

    def _kept(self) -> list[Revocation]:
        """Return what was revoked, by the notes beside the copies: a list that is lost loses nobody."""
        return [_note_of(path) for path in sorted(self._notes.glob(f"*{_NOTE}"))]

    def _write(self, new: x509.CertificateRevocationList, revoked: Sequence[Revocation]) -> None:
        octets = new.public_bytes(Encoding.PEM)
        self._notes.mkdir(files.DIRECTORY_MODE, exist_ok=True)
        notes = [
            files.NewFile(
                self._notes / f"{each.serial:x}{_NOTE}",
                f"{each.date.isoformat()} {each.reason}\n".encode(),
                files.CERTIFICATE_MODE,
            )
            for each in revoked
        ]
        files.write_all([*notes, files.NewFile(self.list_file, octets, files.CERTIFICATE_MODE)])


def _serials(found: x509.CertificateRevocationList | None) -> set[int]:
    return {entry.serial_number for entry in found or ()}


def _note_of(path: Path) -> Revocation:
    try:
        date, reason = files.read(path).decode().split()
        return Revocation(int(path.stem, 16), reason, datetime.datetime.fromisoformat(date))
    except ValueError as error:
        raise CertificateAuthorityError(f"{path} is no note of a revocation.") from error


def _plain_serial(text: str) -> str:
    """Return a serial number in lower-case hex, as any program writes it: ``serial=0A``, ``0x0a``, ``0a:1b``."""
    return text.lower().removeprefix("serial=").replace(":", "").removeprefix("0x").lstrip("0")


def _common_names(certificate: x509.Certificate) -> Sequence[str]:
    return [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
