"""Names that go into certificates and file names, checked before either is written."""

import ipaddress
import re
import unicodedata
from urllib.parse import urlsplit

import idna
from cryptography import x509

from mailgate.ca.errors import CertificateAuthorityError

MAX_COMMON_NAME = 64
"""RFC 5280 appendix A.1: ub-common-name, in characters."""

MAX_FILE_NAME_OCTETS = 200
"""Leaves room for an ending and a temporary file's suffix below the 255 octets of most file systems."""

RESERVED_FILE_NAMES = frozenset({"ca", "server"})
"""No client may be called so: its files would take the place of the CA's or the server's."""

# The underscore is no letter of a host name (RFC 1123 section 2.1), but device names and container names have it,
# and a certificate may carry it: such a name is compared, not looked up.
_ASCII_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_MAX_DNS_NAME = 253


def file_name(text: str) -> str:
    """
    Return `text` as the name, without ending, of a certificate's files: in NFC and otherwise as it came.

    Raises CertificateAuthorityError for what could leave the directory, hide in it, or not be shown.
    """
    name = unicodedata.normalize("NFC", text)
    if not name or name != name.strip() or not name.isprintable():
        raise CertificateAuthorityError(
            f"{text!r} can't be a name: it is empty, begins or ends with a space, or holds a control character.",
        )
    if name[0] in ".-" or "/" in name or "\\" in name:
        raise CertificateAuthorityError(
            f"{text!r} can't be a name: files are called by it, so it may hold no / or \\ "
            "and not begin with . or -.",
        )
    if len(name.encode()) > MAX_FILE_NAME_OCTETS:
        raise CertificateAuthorityError(
            f"{text!r} can't be a name: as a file name it is longer than {MAX_FILE_NAME_OCTETS} octets.",
        )
    return name


def common_name(text: str) -> str:
    """Return `text` as a CN in NFC; raises CertificateAuthorityError when empty, too long or not printable."""
    name = unicodedata.normalize("NFC", text)
    if not name.strip() or not name.isprintable() or len(name) > MAX_COMMON_NAME:
        raise CertificateAuthorityError(
            f"{text!r} can't be a CN: it must have 1 to {MAX_COMMON_NAME} printable characters.",
        )
    return name


def client_name(text: str) -> str:
    """Return the unique id of a client, which is both its certificate's CN and its files' name."""
    name = common_name(file_name(text))
    if name.casefold() in RESERVED_FILE_NAMES:
        raise CertificateAuthorityError(
            f"No client can be called {text!r}: its files would replace the {name}'s own."
        )
    return name


def dns_name(text: str, *, wildcard: bool = False) -> str:
    """
    Return a DNS name as a certificate holds it: lower case, each label an A-label (RFC 5280 section 7.2).

    With `wildcard` the whole leftmost label may be ``*`` (RFC 9525 section 6.3).
    Raises CertificateAuthorityError for anything else.
    """
    star, rest = ("*.", text[2:]) if wildcard and text.startswith("*.") else ("", text)
    try:
        labels = [_label(label) for label in idna.uts46_remap(rest, std3_rules=False).split(".")]
    except ValueError as error:
        raise CertificateAuthorityError(f"{text!r} is not a host name.") from error
    name = star + ".".join(labels)
    if len(name) > _MAX_DNS_NAME or re.fullmatch(r"[0-9]+", labels[-1]):
        raise CertificateAuthorityError(f"{text!r} is not a host name.")
    return name


def _label(label: str) -> str:
    """Return one label in ASCII; raises ValueError (idna's errors are such) for what can't be one."""
    if not label.isascii() or label.startswith("xn--"):
        return idna.alabel(label).decode("ascii")
    if not _ASCII_LABEL.fullmatch(label):
        raise ValueError(label)
    return label


def uri_name(text: str) -> str:
    """Return an absolute URI (``spiffe://…``, ``urn:…``) as it came; else raises CertificateAuthorityError."""
    try:
        parts = urlsplit(text)
        absolute = bool(parts.scheme and (parts.netloc or parts.path))
    except ValueError:
        absolute = False
    if not absolute or not text.isascii() or not text.isprintable() or " " in text:
        raise CertificateAuthorityError(
            f"{text!r} is not a URI: it must be absolute and percent-encoded, as in spiffe://example.com/device/7.",
        )
    return text


def ip_name(text: str) -> x509.IPAddress:
    """Return an IPv4 or IPv6 address as a subjectAltName; raises CertificateAuthorityError for other text."""
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError as error:
        raise CertificateAuthorityError(f"{text!r} is not an IP address.") from error


def server_name(text: str) -> x509.GeneralName:
    """Return what a server is reached by, a DNS name (a wildcard too) or an IP address, as a subjectAltName."""
    try:
        return ip_name(text)
    except CertificateAuthorityError:
        return x509.DNSName(dns_name(text, wildcard=True))
