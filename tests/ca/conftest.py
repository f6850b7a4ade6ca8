"""What the tests of certificates share: real openssl, real handshakes, and the commands of certs/README.md."""

import importlib.util
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def readme_commands():
    return _load(Path(__file__).with_name("readme_commands.py"))


@pytest.fixture(scope="session")
def openssl():
    """Run openssl and return what it printed; without `check` its errors too, instead of an AssertionError."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("the openssl program is not installed")

    def run(*arguments, cwd=None, check=True):
        done = subprocess.run(
            [program, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"openssl {arguments} failed:\n{done.stdout}{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    return run


@pytest.fixture(scope="session")
def _made_by_openssl(openssl, readme_commands, tmp_path_factory):
    directory = tmp_path_factory.mktemp("openssl")
    readme_commands.make_openssl_certificates(directory)
    return directory


@pytest.fixture
def openssl_directory(_made_by_openssl, tmp_path):
    """A folder of one's own with what the plain-openssl commands of certs/README.md make."""
    directory = tmp_path / "openssl"
    shutil.copytree(_made_by_openssl, directory)
    return directory


@pytest.fixture
def mutual_handshake():
    """Let a client and a server shake hands on loopback; returns the client's certificate as the server saw it."""

    def shake(directory, server="server", client="client", host="localhost", *, strict=False):
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(10)
        outcome = {}

        def serve():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_cert_chain(directory / f"{server}.crt", directory / f"{server}.key")
            context.load_verify_locations(directory / "ca.crt")
            if strict:
                context.verify_flags |= ssl.VERIFY_X509_STRICT
            try:
                plain, _ = listener.accept()
                plain.settimeout(10)
                with context.wrap_socket(plain, server_side=True) as connection:
                    outcome["certificate"] = connection.getpeercert()
                    connection.sendall(connection.recv(100))
            except OSError as error:
                outcome["error"] = error

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_cert_chain(directory / f"{client}.crt", directory / f"{client}.key")
            context.load_verify_locations(directory / "ca.crt")
            if strict:
                context.verify_flags |= ssl.VERIFY_X509_STRICT
            address = listener.getsockname()
            with (
                socket.create_connection(address, timeout=10) as plain,
                context.wrap_socket(plain, server_hostname=host) as connection,
            ):
                connection.sendall("안녕".encode())
                assert connection.recv(100).decode() == "안녕"
        finally:
            thread.join(20)
            listener.close()
        if "error" in outcome:
            raise outcome["error"]
        return outcome["certificate"]

    return shake
