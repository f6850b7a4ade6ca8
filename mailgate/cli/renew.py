"""``mailgate renew``: a client's next certificate, from the gateway that takes the present one."""

import base64
import binascii
import datetime
from pathlib import Path

import click
from cryptography import x509

from mailgate.ca import files, issue, stored
from mailgate.ca.authority import utc_now
from mailgate.ca.errors import CertificateAuthorityError
from mailgate.ca.issue import KeyType
from mailgate.ca.request import issued_for, request_like
from mailgate.cli.gateway import Credentials, Gateway, GatewayError
from mailgate.cli.send import problem

_PATH = click.Path(path_type=Path)


@click.command("renew")
@click.option("--url", default="https://localhost:8443", show_default=True, help="Where the gateway is.")
@click.option("--cert", "certificate_file", type=_PATH, required=True, help="Our certificate, PEM.")
@click.option("--key", "key_file", type=_PATH, required=True, help="Its private key, PEM.")
@click.option("--ca", type=_PATH, default=Path("certs/ca.crt"), show_default=True, help="The gateway's CA, PEM.")
@click.option("--keep-key", is_flag=True, help="Go on with the present key, instead of making a new one.")
@click.option(
    "--if-within",
    "days",
    type=click.IntRange(0),
    metavar="DAYS",
    help="Only if no more than so many days are left, for a timer that runs every day.",
)
def command(
    *, url: str, certificate_file: Path, key_file: Path, ca: Path, keep_key: bool, days: int | None
) -> None:
    """
    Renew a client certificate that is still valid, and put the new one in its place, with a new key.

    The names stay as they are. If anything fails, the present files stay. With --keep-key one file alone is
    replaced, which a power cut can't tear apart. The gateway must have [est] in its settings.
    """
    try:
        before = x509.load_pem_x509_certificate(files.read(certificate_file))
        left = before.not_valid_after_utc - utc_now()
        if days is not None and left > datetime.timedelta(days=days):
            click.echo(f"{certificate_file} is good for {left.days} more days.")
            return
        new_key = None if keep_key else issue.new_key(KeyType.EC)
        key = new_key or stored.private_key(key_file)
        answer = Gateway(url, Credentials(certificate_file, key_file, ca)).reenrol(
            base64.encodebytes(request_like(before, key))
        )
        if not answer.accepted:
            raise click.ClickException(problem(answer))
        after = issued_for(key, before, _decoded(answer.content))
        batch = [files.NewFile(certificate_file, issue.certificate_pem(after), files.CERTIFICATE_MODE)]
        if new_key is not None:
            batch.insert(0, files.NewFile(key_file, issue.key_pem(new_key), files.KEY_MODE))
        files.write_all(batch)
    except (CertificateAuthorityError, GatewayError) as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.ClickException(f"{certificate_file} holds no certificate in PEM form.") from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}.") from error
    click.echo(f"{certificate_file}: serial {after.serial_number:x}, until {after.not_valid_after_utc:%Y-%m-%d}")


def _decoded(content: bytes) -> bytes:
    try:
        return binascii.a2b_base64(content)
    except binascii.Error as error:
        raise CertificateAuthorityError("The gateway's answer is not base64.") from error
