"""What a picture costs on the wire, and how often a device has to wait for the network."""

import base64

import pytest
from harness.cable import Cable
from harness.client import Client

pytestmark = pytest.mark.e2e

PICTURE = bytes(range(256)) * 240
TLS_FLIGHTS = 4


def after_handshake(cable):
    """Return what went from and to the client after the greeting, which ends the handshake of TLS 1.2."""
    return sum(cable.flights[TLS_FLIGHTS::2]), sum(cable.flights[TLS_FLIGHTS + 1 :: 2])


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "camera.jpg"
    path.write_bytes(PICTURE)
    return path


@pytest.mark.parametrize("example", ["mbedtls"], indirect=True)
def test_one_round_trip_and_a_quarter_less_than_base64_in_json(example, gateway, cable, picture):
    assert example.send(cable.port, "wire-1", picture, "image/jpeg").status == 0
    by_lines, replied = after_handshake(cable)
    # After the handshake: the message, its reply, and the end of TLS.
    assert len(cable.flights) - TLS_FLIGHTS <= 3
    assert replied < 255 + 64
    by_json = send_as_json(gateway)
    assert by_lines < len(PICTURE) * 1.04
    assert by_lines < by_json * 0.77


def send_as_json(gateway):
    """Send the same over HTTPS; return the octets from the client."""
    certificates = gateway.stage.certificates
    cable = Cable(gateway.port)
    try:
        with Client(
            cable.port, certificates / "ca.crt", certificates / "camera.crt", certificates / "camera.key"
        ) as client:
            client.connection.connect()
            before = sum(cable.flights[::2])
            message = {
                "from": "cam3@example.com",
                "to": "ops@example.com",
                "subject": "온도 경고, 81 °C",
                "text": "3번 구역이 뜨겁습니다.",
                "attachments": [
                    {
                        "filename": "camera.jpg",
                        "content": base64.b64encode(PICTURE).decode(),
                        "content_type": "image/jpeg",
                    }
                ],
            }
            assert client.submit(message, Idempotency_Key="wire-2").status == 202
            return sum(cable.flights[::2]) - before
    finally:
        cable.close()
