"""A message that may have been delivered waits for the operator, where the settings say so."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from harness.gateway import Gateway, message
from harness.moody import Mood, MoodyServer
from harness.waiting import until


@pytest.fixture
def server() -> Iterator[MoodyServer]:
    """Takes each message, and closes the connection instead of saying so."""
    server = MoodyServer(Mood(lose_each=1)).start()
    yield server
    server.stop()


def queue_command(gateway: Gateway, *arguments: object) -> str:
    """Run ``mailgate queue`` beside the gateway; return what it prints."""
    run = "import sys; from mailgate.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", run, "queue", *map(str, arguments), "--config"]
    done = subprocess.run([*command, str(gateway.stage.settings)], check=True, capture_output=True, text=True)
    return done.stdout


def test_what_may_have_been_delivered_is_held_until_somebody_decides(
    server: MoodyServer, new_gateway: Callable[..., Gateway]
) -> None:
    gateway = new_gateway(server.port)
    gateway.upstreams = [{"host": "127.0.0.1", "port": server.port, "tls": "none"}]
    gateway.tables["delivery"]["outcome_unknown"] = "hold"
    gateway.start()
    with gateway.client() as client:
        sent = client.submit(message(), Prefer="wait=10")
        assert (sent["status"], sent["next_attempt_at"]) == ("deferred", None)
        [recipient] = sent["recipients"]
        assert "may have been delivered" in recipient["smtp"]["text"]
        [event] = gateway.events("delivery.outcome_unknown")
        assert (event["message"], event["on_hold"]) == (sent["id"], True)
        assert str(sent["id"]) in queue_command(gateway, "held")
        # Another message's way is free, and time alone lets the first one go nowhere.
        server.mood.lose_each = 0
        other = client.submit(message(), Prefer="wait=10")
        assert other["status"] == "accepted"
        assert server.received.count(str(sent["message_id"])) == 1
        queue_command(gateway, "retry", sent["id"])
        until(lambda: client.state(sent["id"])["status"] == "accepted", "the delivery")
    assert server.received.count(str(sent["message_id"])) == 2
    assert queue_command(gateway, "held") == "Nothing is on hold.\n"
    gateway.stop()
