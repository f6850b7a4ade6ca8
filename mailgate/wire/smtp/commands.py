"""Commands of a mail transaction (RFC 5321 section 4.1.1), each with its CRLF."""

import re

_PLAIN = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_DOMAIN = re.compile(r"[A-Za-z0-9.-]+|\[[A-Za-z0-9.:]+\]")
_ATOMS = re.compile(r"[^ <>()\[\]:;@\\,\"]+")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


class UnfitAddressError(ValueError):
    """An address that can't stand in a command; the text is a sentence without the address."""


def mail_from(sender: str, *, size: int | None, eight_bit: bool, smtputf8: bool) -> bytes:
    """
    Return MAIL FROM for an addr-spec, or for the null reverse-path where `sender` is empty.

    `size` is declared (RFC 1870) unless None; `eight_bit` and `smtputf8` ask for 8BITMIME (RFC 6152) and
    SMTPUTF8 (RFC 6531), which the server must have offered. Raises UnfitAddressError.
    """
    command = b"MAIL FROM:" + _path(sender, smtputf8=smtputf8)
    if size is not None:
        command += b" SIZE=%d" % size
    if eight_bit:
        command += b" BODY=8BITMIME"
    if smtputf8:
        command += b" SMTPUTF8"
    return command + b"\r\n"


def rcpt_to(recipient: str, *, smtputf8: bool) -> bytes:
    """Return RCPT TO for an addr-spec; raises UnfitAddressError."""
    if not recipient:
        raise UnfitAddressError("the recipient is empty")
    return b"RCPT TO:" + _path(recipient, smtputf8=smtputf8) + b"\r\n"


def _path(address: str, *, smtputf8: bool) -> bytes:
    if _PLAIN.fullmatch(address):
        return b"<" + address.encode() + b">"
    if not address:
        return b"<>"
    if _CONTROL.search(address):
        raise UnfitAddressError("the address holds a control character")
    local, _, domain = address.rpartition("@")
    if not (local and domain):
        raise UnfitAddressError("the address has no domain")
    if not _DOMAIN.fullmatch(domain):
        raise UnfitAddressError("the domain is not written in A-labels")
    if not local.isascii() and not smtputf8:
        raise UnfitAddressError("the address needs SMTPUTF8")
    if not (_QUOTED if local.startswith('"') else _ATOMS).fullmatch(local):
        raise UnfitAddressError("the part before the @ must be quoted")
    return b"<" + address.encode() + b">"
