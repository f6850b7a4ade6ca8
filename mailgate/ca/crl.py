"""Certificate revocation lists as values (RFC 5280 section 5); no file is touched here."""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cryptography import x509

from mailgate.ca.errors import CertificateAuthorityError
from mailgate.ca.issue import Issuer, digest_of, key_usage_of

REASONS: Mapping[str, x509.ReasonFlags] = {
    "unspecified": x509.ReasonFlags.unspecified,
    "key-compromise": x509.ReasonFlags.key_compromise,
    "affiliation-changed": x509.ReasonFlags.affiliation_changed,
    "superseded": x509.ReasonFlags.superseded,
    "cessation-of-operation": x509.ReasonFlags.cessation_of_operation,
}


@dataclass(frozen=True, slots=True)
class Revocation:
    """One certificate that is revoked, since when; the reason is one of REASONS."""

    serial: int
    reason: str
    date: datetime.datetime


def new_list(
    issuer: Issuer,
    before: x509.CertificateRevocationList | None,
    revoked: Iterable[Revocation],
    now: datetime.datetime,
    days: int,
) -> x509.CertificateRevocationList:
    """
    Return the CA's next list: what the one before has, and what is revoked since, each once.

    The next one is due in `days`. Raises CertificateAuthorityError where the CA may not sign lists, or the list
    before is another CA's.
    """
    usage = key_usage_of(issuer.certificate)
    if usage is not None and not usage.crl_sign:
        raise CertificateAuthorityError(
            "This CA may not sign CRLs (its keyUsage has no cRLSign); `mailgate ca init --reissue` mends that."
        )
    if before is not None and before.issuer != issuer.certificate.subject:
        raise CertificateAuthorityError(f"The CRL there is another CA's: {before.issuer.rfc4514_string()}.")
    entries = {entry.serial_number: entry for entry in before or ()}
    for each in revoked:
        entries.setdefault(each.serial, _entry(each))
    # By the clock, so that a list that was lost is followed by one with a higher number all the same.
    number = max(int(now.timestamp()), 0 if before is None else _number(before) + 1)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now)
        .next_update(now + datetime.timedelta(days=days))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.certificate.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
    )
    for entry in entries.values():
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(issuer.key, digest_of(issuer.key))


def is_due(found: x509.CertificateRevocationList, now: datetime.datetime) -> bool:
    """Tell whether less than half of the list's time is left."""
    end = found.next_update_utc
    return end is None or end - now < (end - found.last_update_utc) / 2


def _entry(revocation: Revocation) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(revocation.serial).revocation_date(revocation.date)
    if revocation.reason != "unspecified":
        # RFC 5280 section 5.3.1: absent rather than unspecified.
        builder = builder.add_extension(x509.CRLReason(REASONS[revocation.reason]), critical=False)
    return builder.build()


def _number(found: x509.CertificateRevocationList) -> int:
    try:
        return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0
