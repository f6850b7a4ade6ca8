"""Commands of a mail transaction (RFC 5321 section 4.1.1), each with its CRLF."""

import re

_PLAIN = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_DOMAIN = re.compile(r"[A-Za-z0-9.-]+|\[[A-Za-z0-9.:]+\]")
_ATOMS = re.compile(r"[^ <>()\[\]:;@\\,\"]+")
_BEYOND_XTEXT = re.compile(r"[^!-*,-<>-~]")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


class UnfitAddressError(ValueError):
    """An address that can't stand in a command; the text is a sentence without the address."""


def mail_from(
    sender: str, *, size: int | None, eight_bit: bool, smtputf8: bool, envelope_id: str | None = None
) -> bytes:
    """
    Return MAIL FROM for an addr-spec, or for the null reverse-path where `sender` is empty.

    `size` is declared (RFC 1870) unless None; `eight_bit` and `smtputf8` ask for 8BITMIME (RFC 6152) and
    SMTPUTF8 (RFC 6531). An `envelope_id` of at most 100 printable ASCII characters asks that a delivery status
    notification names it and returns the header alone (RFC 3461 sections 4.3 and 4.4). The server must have
    offered what is used. Raises UnfitAddressError.
    """
    command = b"MAIL FROM:" + _path(sender, smtputf8=smtputf8)
    if size is not None:
        command += b" SIZE=%d" % size
    if eight_bit:
        command += b" BODY=8BITMIME"
    if smtputf8:
        command += b" SMTPUTF8"
    if envelope_id is not None:
        command += b" RET=HDRS ENVID=" + _xtext(envelope_id)
    return command + b"\r\n"


def rcpt_to(recipient: str, *, smtputf8: bool) -> bytes:
    """Return RCPT TO for an addr-spec; raises UnfitAddressError."""
    if not recipient:
        raise UnfitAddressError("the recipient is empty")
    return b"RCPT TO:" + _path(recipient, smtputf8=smtputf8) + b"\r\n"


def bdat_last(content: bytes) -> bytes:
    """Return BDAT with a whole message, as it is, in its only chunk (RFC 3030 section 2)."""
    return b"BDAT %d LAST\r\n" % len(content) + content


def _xtext(text: str) -> bytes:
    # RFC 3461 section 4.
    return _BEYOND_XTEXT.sub(lambda found: f"+{ord(found[0]):02X}", text).encode("ascii")


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
