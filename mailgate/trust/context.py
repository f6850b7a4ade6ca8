"""How the server's side of mutual TLS is set up."""

from collections.abc import Callable, Sequence

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags

from mailgate.trust.certificate import key_identifier
from mailgate.trust.files import Credentials

VERSIONS = {"TLSv1.2": SSL.TLS1_2_VERSION, "TLSv1.3": SSL.TLS1_3_VERSION}

# RFC 9325 section 4.2: forward secrecy and AEAD only. TLS 1.3 has nothing else.
_TLS12_CIPHERS = b"@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20"

# The longest chain from a client's certificate to a CA of ours.
_DEPTH = 9

# SSL_MODE_NO_AUTO_CHAIN, which pyOpenSSL doesn't name. Without it, OpenSSL sends our own certificate with those
# CAs of clients that it was issued by: a kilobyte that small devices have no room for.
_MODE_NO_AUTO_CHAIN = 0x8

_LARGEST_LIST = 256 * 1024

VerifyCallback = Callable[[SSL.Connection, X509, int, int, int], bool]
SelectProtocol = Callable[[SSL.Connection, Sequence[bytes]], bytes | None]


def server_context(
    credentials: Credentials, minimum: str, verify: VerifyCallback, select: SelectProtocol
) -> SSL.Context:
    """
    Return a context that demands a client certificate and resumes nothing.

    A resumed session would skip `verify` and any revocation, so there are neither tickets nor a cache.
    `select` gets the protocols a client offers by ALPN (RFC 7301) and returns one of them, or None.
    Raises OpenSSL.SSL.Error where OpenSSL can't use the credentials.
    """

    def select_alpn(connection: SSL.Connection, offered: list[bytes]) -> bytes | SSL._NoOverlappingProtocols:
        chosen = select(connection, offered)
        return SSL.NO_OVERLAPPING_PROTOCOLS if chosen is None else chosen

    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(VERSIONS[minimum])
    context.set_options(
        SSL.OP_NO_RENEGOTIATION
        | SSL.OP_NO_COMPRESSION
        | SSL.OP_NO_TICKET
        | SSL.OP_CIPHER_SERVER_PREFERENCE
        | SSL.OP_SINGLE_ECDH_USE
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS | _MODE_NO_AUTO_CHAIN)
    context.set_cipher_list(_TLS12_CIPHERS)
    context.use_certificate(credentials.chain[0])
    for intermediate in credentials.chain[1:]:
        context.add_extra_chain_cert(intermediate)
    context.use_privatekey(credentials.key)
    context.check_privatekey()
    store = context.get_cert_store()
    assert store is not None
    for authority in credentials.client_cas:
        store.add_cert(X509.from_cryptography(authority))
        context.add_client_ca(authority)
    flags = X509StoreFlags.PARTIAL_CHAIN  # an intermediate in the bundle is trusted without its root beside it
    for crl in credentials.crls:
        if not _is_plain(crl, credentials.client_cas):
            continue
        store.add_crl(crl)
        # What this finds is judged by `verify`; only OpenSSL itself can tell the peer that it's revoked.
        flags |= X509StoreFlags.CRL_CHECK | X509StoreFlags.CRL_CHECK_ALL
    store.set_flags(flags)
    # OpenSSL sets the purpose `sslclient` by itself for the certificates a server verifies.
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
    context.set_verify_depth(_DEPTH)
    context.set_alpn_select_callback(select_alpn)
    return context


def _is_plain(crl: x509.CertificateRevocationList, authorities: Sequence[x509.Certificate]) -> bool:
    """
    Tell whether OpenSSL can be given a list: it hashes all of it in each handshake, and goes by names.

    Of two CAs of one name it tells the lists apart by their key identifiers alone.
    """
    if len(crl.tbs_certlist_bytes) > _LARGEST_LIST:
        return False
    try:
        crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return len({key_identifier(each) for each in authorities if each.subject == crl.issuer}) == 1
    return True
