"""Certificate revocation lists (RFC 5280 section 5): read, checked, and then a set of serial numbers."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtensionOID

from mailgate.trust.certificate import UNREADABLE, WEAK_DIGESTS, key_identifier
from mailgate.trust.settings import TrustError

CLOCK_SKEW = timedelta(minutes=5)
"""How far the CA's clock may be ahead of ours."""

_BEGIN = b"-----BEGIN X509 CRL-----"
_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
_DER_SEQUENCE = b"\x30"
_OF_A_PART = frozenset({ExtensionOID.DELTA_CRL_INDICATOR, ExtensionOID.ISSUING_DISTRIBUTION_POINT})
"""RFC 5280 sections 5.2.4, 5.2.5: a list of changes, or of a part of the certificates; some forget `critical`."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """
    What the CRL of one CA says.

    Attributes:
        subject: the CA's name in the form of RFC 4514.
        this_update, next_update: when it was issued, and when the next one is due at the latest.
        serials: the serial numbers that are revoked, in lower-case hex.
        issued: when each name of this key issued its list: two CAs of one key share what either of them says.
        crls: the lists as they came.

    """

    subject: str
    this_update: datetime
    next_update: datetime
    serials: frozenset[str]
    issued: Mapping[str, datetime]
    crls: tuple[x509.CertificateRevocationList, ...] = field(repr=False, compare=False)

    def expired(self, now: datetime) -> bool:
        """Tell whether the next list is overdue."""
        return now >= self.next_update


def read_revocation_lists(
    path: Path, octets: bytes, authorities: Sequence[x509.Certificate], now: datetime
) -> Mapping[str, RevocationList]:
    """
    Return the lists in a file, the newest of each CA, by the key identifiers of their CAs.

    A list of a CA that isn't among them is passed over, so that a CA can be distrusted before its list is taken
    out. Any other must be signed by its CA; and every CA that is still valid must have one, lest everyone it
    vouches for is refused. Raises TrustError, one sentence.
    """
    found: dict[tuple[str, str], RevocationList] = {}
    try:
        for crl in _parse(path, octets):
            if not any(crl.issuer == authority.subject for authority in authorities):
                continue
            _check_digest(path, crl)
            authority = _authority(path, crl, authorities)
            _check(path, crl, authority, now)
            read = _read(crl)
            place = key_identifier(authority), read.subject
            if place not in found or found[place].this_update < read.this_update:
                found[place] = read
    except UNREADABLE as error:
        raise TrustError(f"the CRL file {path} holds a CRL that can't be read") from error
    lists = _by_key(found)
    for authority in authorities:
        if authority.not_valid_after_utc > now and (key_identifier(authority), _name(authority)) not in found:
            raise TrustError(f"the CRL file {path} has no CRL of {_name(authority)}, a CA of the client CA file")
    return lists


def _by_key(found: Mapping[tuple[str, str], RevocationList]) -> Mapping[str, RevocationList]:
    """Return the lists by key alone; two CAs of one key share what either of them says."""
    lists: dict[str, RevocationList] = {}
    for (key, _), each in found.items():
        other = lists.get(key)
        lists[key] = each if other is None else _merged(other, each)
    return lists


def _merged(one: RevocationList, other: RevocationList) -> RevocationList:
    return RevocationList(
        f"{one.subject} and {other.subject}",
        min(one.this_update, other.this_update),
        min(one.next_update, other.next_update),
        one.serials | other.serials,
        {**one.issued, **other.issued},
        (*one.crls, *other.crls),
    )


def check_not_older(path: Path, new: Mapping[str, RevocationList], old: Mapping[str, RevocationList]) -> None:
    """Raise TrustError where a list is older than the one that it would replace."""
    for key, replaced in old.items():
        for subject, issued in replaced.issued.items():
            fresh = new[key].issued.get(subject) if key in new else None
            if fresh is not None and fresh < issued:
                raise TrustError(
                    f"the CRL file {path} has a CRL of {subject} that is older than the one in use: it was issued "
                    f"on {fresh:%Y-%m-%d %H:%M} UTC"
                )


def _parse(path: Path, octets: bytes) -> Iterator[x509.CertificateRevocationList]:
    blocks = _BLOCK.findall(octets)
    if len(blocks) != octets.count(_BEGIN) and blocks:
        raise TrustError(f"the CRL file {path} is cut off within a CRL")
    if blocks:
        yield from (x509.load_pem_x509_crl(block) for block in blocks)
    elif octets.startswith(_DER_SEQUENCE):
        yield x509.load_der_x509_crl(octets)
    else:
        raise TrustError(f"the CRL file {path} holds no CRL in PEM or DER form")


def _authority(
    path: Path, crl: x509.CertificateRevocationList, authorities: Iterable[x509.Certificate]
) -> x509.Certificate:
    """Return the CA that signed a list."""
    named = [authority for authority in authorities if authority.subject == crl.issuer]
    issuer = crl.issuer.rfc4514_string()
    for authority in named:
        try:
            # A key that can't sign anything is a TypeError.
            if crl.is_signature_valid(authority.public_key()):  # type: ignore[arg-type]
                return authority
        except (UnsupportedAlgorithm, TypeError, ValueError):
            continue
    raise TrustError(f"the CRL file {path} has a CRL of {issuer} whose signature is not by that CA")


def _check_digest(path: Path, crl: x509.CertificateRevocationList) -> None:
    digest = crl.signature_hash_algorithm
    if digest is not None and digest.name in WEAK_DIGESTS:
        issuer = crl.issuer.rfc4514_string()
        raise TrustError(f"the CRL of {issuer} in {path} is signed with {digest.name}, which is too weak")


def _check(path: Path, crl: x509.CertificateRevocationList, authority: x509.Certificate, now: datetime) -> None:
    subject = _name(authority)
    if not _may_sign_lists(authority):
        raise TrustError(f"the CRL of {subject} in {path}: the keyUsage of that CA lacks cRLSign")
    if crl.last_update_utc > now + CLOCK_SKEW:
        raise TrustError(
            f"the CRL of {subject} in {path} is from the future: it was issued on "
            f"{crl.last_update_utc:%Y-%m-%d %H:%M} UTC"
        )
    if crl.next_update_utc is None:
        raise TrustError(f"the CRL of {subject} in {path} doesn't say when the next one is due")
    for extension in crl.extensions:
        if extension.critical or extension.oid in _OF_A_PART:
            raise TrustError(
                f"the CRL of {subject} in {path} is not a complete one: it has the extension "
                f"{extension.oid.dotted_string}"
            )


def _read(crl: x509.CertificateRevocationList) -> RevocationList:
    assert crl.next_update_utc is not None
    serials = frozenset(f"{revoked.serial_number:x}" for revoked in crl)
    issuer, begin, end = crl.issuer.rfc4514_string(), crl.last_update_utc, crl.next_update_utc
    return RevocationList(issuer, begin, end, serials, {issuer: begin}, (crl,))


def _may_sign_lists(authority: x509.Certificate) -> bool:
    try:
        return authority.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
