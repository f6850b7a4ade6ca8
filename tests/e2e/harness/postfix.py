"""A private Postfix: its own configuration, queue and log in one folder, on a high port of loopback."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mailgate.demo.processes import Program
from mailgate.demo.stage import answers, free_port

USER = "nobody"

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}
mail_owner = postfix
myhostname = localhost
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
biff = no
smtputf8_enable = yes
virtual_mailbox_domains = static:every
virtual_mailbox_maps = static:inbox/
virtual_mailbox_base = {folder}/mail
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_transport = virtual
virtual_destination_recipient_limit = 1
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = encrypt
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access {access}, reject_unauth_destination
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_soft_error_limit = 100000
smtpd_hard_error_limit = 100000
smtpd_junk_command_limit = 100000
default_process_limit = 20
disable_dns_lookups = yes
smtpd_peername_lookup = no
"""

_ACCESS = (
    "inline:{ { nobody@example.com = 550 5.1.1 there is nobody here }"
    " { later@example.com = 450 4.2.1 the mailbox is busy } }"
)

_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def missing() -> str | None:
    """Return why no Postfix can be started here, or None."""
    if shutil.which("postfix") is None:
        return "Postfix is not installed"
    if os.geteuid() != 0:
        return "only root can start a Postfix"
    return None


@dataclass(frozen=True, slots=True)
class Postfix:
    """
    A running Postfix that takes mail for every address into one Maildir, over STARTTLS only.

    But nobody@example.com it refuses, and later@example.com it never takes just now.
    """

    folder: Path
    port: int

    def messages(self) -> list[bytes]:
        """Return the delivered messages, one for each recipient, with Postfix's own header fields on top."""
        return [path.read_bytes() for path in sorted((self.folder / "mail" / "inbox" / "new").glob("*"))]

    @property
    def log(self) -> str:
        """What it logged so far."""
        return (self.folder / "log" / "mail.log").read_text(errors="replace")


@contextmanager
def running_postfix(certificate: Path, key: Path) -> Iterator[Postfix]:
    """Start a Postfix of our own with this certificate, and end it with its processes."""
    # Its processes give up root, so they must reach a folder that pytest's private ones would hide.
    folder = Path(tempfile.mkdtemp(prefix="mailgate-postfix-"))
    try:
        folder.chmod(0o755)
        port = free_port()
        _configure(folder, port, certificate, key)
        command = ["postfix", "-c", folder / "etc", "start-fg"]
        with Program("Postfix", command, folder / "output") as program:
            try:
                program.wait_until(lambda: answers(port), "took connections")
                yield Postfix(folder, port)
            finally:
                # The program is a script that waits for Postfix's master, and only this ends the master.
                subprocess.run(["postfix", "-c", folder / "etc", "stop"], check=True, capture_output=True)
    finally:
        shutil.rmtree(folder)


def _configure(folder: Path, port: int, certificate: Path, key: Path) -> None:
    for part in ("etc", "queue", "log", "data", "mail"):
        (folder / part).mkdir(mode=0o755)
    own_certificate, own_key = folder / "etc" / "server.crt", folder / "etc" / "server.key"
    shutil.copyfile(certificate, own_certificate)
    shutil.copyfile(key, own_key)
    own_key.chmod(0o600)
    shutil.chown(folder / "data", "postfix")
    shutil.chown(folder / "mail", USER)
    owner = (folder / "mail").stat()
    group = subprocess.run(["id", "-g", USER], check=True, capture_output=True, text=True).stdout.strip()
    main = _MAIN.format(
        folder=folder,
        uid=owner.st_uid,
        gid=group,
        certificate=own_certificate,
        key=own_key,
        access=_ACCESS,
    )
    (folder / "etc" / "main.cf").write_text(main)
    (folder / "etc" / "master.cf").write_text(_MASTER.format(port=port))
