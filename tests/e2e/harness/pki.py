"""Certificates of every kind: what a test needs, and no CA of any sense would issue."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
CLIENT_AUTH = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER_AUTH = (ExtendedKeyUsageOID.SERVER_AUTH,)


def ec_key():
    return ec.generate_private_key(ec.SECP256R1())


def rsa_key(bits=2048):
    return rsa.generate_private_key(65537, bits)


def distinguished_name(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Authority:
    """A CA of the test's own; several may bear the same name."""

    def __init__(
        self,
        name,
        *,
        key=None,
        key_usage=True,
        issuer=None,
        begin=NOW - DAY,
        end=NOW + 365 * DAY,
        crl_sign=True,
    ):
        self.key = key or ec_key()
        self.name = distinguished_name(name)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(issuer.name if issuer else self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        )
        if key_usage:
            usage = dict.fromkeys(
                (
                    "digital_signature",
                    "content_commitment",
                    "key_encipherment",
                    "data_encipherment",
                    "key_agreement",
                    "encipher_only",
                    "decipher_only",
                ),
                False,
            )
            builder = builder.add_extension(
                x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=crl_sign), critical=True
            )
        identifier = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        if issuer:
            above = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
            builder = builder.add_extension(above, critical=False)
        self.certificate = builder.sign(issuer.key if issuer else self.key, hashes.SHA256())

    def issue(
        self,
        common_name,
        *,
        key=None,
        usages=CLIENT_AUTH,
        names=(),
        begin=NOW - DAY,
        end=NOW + 30 * DAY,
        digest=None,
        claimed_key=None,
    ):
        key = key or ec_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(distinguished_name(common_name))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
        )
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key((claimed_key or self.key).public_key())
        builder = builder.add_extension(issuer, critical=False)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, digest or hashes.SHA256()), key

    def revoke(self, *certificates, begin=NOW - DAY, end=NOW + 30 * DAY, key=None, digest=None, extensions=()):
        """Return a CRL of this CA that has the certificates, or serial numbers."""
        builder = (
            x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(begin).next_update(end)
        )
        for each in certificates:
            serial = each if isinstance(each, int) else each.serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begin).build()
            builder = builder.add_revoked_certificate(revoked)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(key or self.key, digest or hashes.SHA256())


def with_sha1(signed, key):
    """Return the DER of a certificate or CRL of an RSA key, signed anew with SHA-1."""
    sha256, sha1 = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    certificate = isinstance(signed, x509.Certificate)
    content = signed.tbs_certificate_bytes if certificate else signed.tbs_certlist_bytes
    weakened = content.replace(sha256, sha1)
    signature = key.sign(weakened, padding.PKCS1v15(), hashes.SHA1())
    octets = signed.public_bytes(Encoding.DER).replace(content, weakened)
    return octets.replace(sha256, sha1).replace(signed.signature, signature)


def pem(*certificates):
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def key_pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
