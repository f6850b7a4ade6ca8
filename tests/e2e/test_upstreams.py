"""Internal servers in trouble: what is sent to them, and how long messages wait."""

import itertools
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from harness.gateway import Gateway, message
from harness.load import send_all
from harness.moody import Mood, MoodyServer
from harness.waiting import until

NewServer = Callable[..., MoodyServer]
NewGateway = Callable[..., Gateway]


@pytest.fixture
def new_server() -> Iterator[NewServer]:
    servers: list[MoodyServer] = []

    def make(**mood: float) -> MoodyServer:
        servers.append(MoodyServer(Mood(**mood)).start())  # type: ignore[arg-type]
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def gateway_for(new_gateway: NewGateway) -> Callable[..., Gateway]:
    def start(*servers: MoodyServer) -> Gateway:
        gateway = new_gateway(*(server.port for server in servers), upstream_host="127.0.0.1")
        gateway.upstreams = [{"host": "127.0.0.1", "port": server.port, "tls": "none"} for server in servers]
        return gateway.start()

    return start


def send(gateway: Gateway, count: int) -> list[str]:
    return send_all(gateway.client, [message(f"{number}번") for number in range(count)])


def tell(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n  {text}\n")


def test_a_server_that_takes_three_connections_gets_three(
    new_server: NewServer, gateway_for: Callable[..., Gateway], capsys: pytest.CaptureFixture[str]
) -> None:
    server = new_server(most=3, delay=0.005)
    gateway = gateway_for(server)
    sent = send(gateway, 600)
    until(lambda: len(server.received) >= 600, "all messages")
    assert sorted(server.received) == sorted(sent)
    assert not gateway.events("upstream.down")
    assert not gateway.events("delivery.deferred")
    assert server.refused < 20
    tell(capsys, f"a limit of 3: {server.refused} connections refused, 600 of 600 delivered, none deferred")
    gateway.stop()


def test_a_connection_lost_now_and_then_holds_up_nobody_else(
    new_server: NewServer, gateway_for: Callable[..., Gateway], capsys: pytest.CaptureFixture[str]
) -> None:
    taken = []
    for lose_each in (0, 10):
        server = new_server(lose_each=lose_each)
        gateway = gateway_for(server)
        begun = time.monotonic()
        sent = send(gateway, 1000)
        until(lambda server=server: len(set(server.received)) >= 1000, "all messages")
        taken.append(time.monotonic() - begun)
        assert set(server.received) == set(sent)
        assert not gateway.events("upstream.down")
        # Each message that was taken without a reply comes again: RFC 5321 knows no other way.
        until(
            lambda server=server, gateway=gateway: (
                len(server.received) - 1000 == len(gateway.events("delivery.outcome_unknown"))
            ),
            "the repeats",
        )
        gateway.stop()
    repeats = len(server.received) - 1000
    tell(
        capsys,
        f"each 10th connection lost after the dot: 1000 of 1000 delivered, {repeats} repeats, each after"
        f" an unknown outcome; {taken[1] / taken[0]:.1f} times as long as without",
    )


def test_a_server_that_says_nothing_gives_way_to_the_next(
    new_server: NewServer, gateway_for: Callable[..., Gateway], capsys: pytest.CaptureFixture[str]
) -> None:
    silent, other = new_server(silent=True), new_server()
    gateway = gateway_for(silent, other)
    begun = time.monotonic()
    send(gateway, 100)
    until(lambda: len(other.received) >= 90, "the messages by the other server", 60)
    taken = time.monotonic() - begun
    assert gateway.events("upstream.down")[0]["reason"] == "no reply on any connection for 30 s"
    send(gateway, 100)
    until(lambda: len(other.received) >= 189, "what comes later")
    # A stop in order would wait for the transactions.
    gateway.program.kill()
    tell(capsys, f"a silent first server: 90 of 100 by the second one after {taken:.0f} s, the other 10 under way")


def test_a_server_that_returns_is_met_gently(
    new_server: NewServer, gateway_for: Callable[..., Gateway], capsys: pytest.CaptureFixture[str]
) -> None:
    server = MoodyServer(Mood(delay=0.02))
    gateway = gateway_for(server)
    sent = send(gateway, 2000)
    assert gateway.events("upstream.down")
    server.start()
    begun = time.monotonic()
    try:
        until(lambda: bool(server.received), "the first message", 60)
        first = time.monotonic()
        until(lambda: len(server.received) >= 2000, "all messages", 60)
        last = time.monotonic()
    finally:
        server.stop()
    assert sorted(server.received) == sorted(sent)
    seconds = [
        max((count for at, count in server.connections if at < first + second), default=0)
        for second in range(1, 7)
    ]
    assert seconds[0] <= 4
    assert all(after <= 2 * before for before, after in itertools.pairwise(seconds))
    assert seconds[-1] == 10
    tell(
        capsys,
        f"back with 2000 waiting: first after {first - begun:.1f} s, all after {last - begun:.1f} s;"
        f" connections by the second: {seconds}",
    )
