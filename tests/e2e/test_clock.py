"""A calendar that is set by hours, the gateway's or the database server's, loses, repeats and stalls nothing."""

import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from harness.calendar import Calendar
from harness.gateway import Gateway, message
from harness.internal import InternalServer
from harness.postgresql import Cluster
from harness.shared import upgrade
from harness.waiting import until

HOURS = pytest.mark.parametrize("hours", [-5, 5])


BEGIN = 6
"""Hours by which the calendar is ahead at first: set back, it isn't yet before the certificates were made."""


@pytest.fixture
def calendar(tmp_path: Path) -> Calendar:
    calendar = Calendar(tmp_path)
    calendar.set_by(BEGIN)
    return calendar


@pytest.fixture
def gateway(calendar: Calendar, internal: InternalServer, new_gateway: Callable[..., Gateway]) -> Gateway:
    """A running gateway that looks at the calendar."""
    with calendar.shown():
        return new_gateway(internal.port).start()


def signal_internal(internal: InternalServer, number: signal.Signals) -> None:
    assert internal.program is not None
    os.kill(internal.program.pid, number)


def undisturbed(gateway: Gateway) -> bool:
    names = ("delivery.outcome_unknown", "delivery.lease_lost", "delivery.expired", "delivery.deferred")
    return not any(gateway.events(name) for name in names)


@HOURS
def test_what_is_under_way_goes_on(
    gateway: Gateway, internal: InternalServer, calendar: Calendar, hours: int
) -> None:
    with gateway.client() as client:
        first = client.submit(message(), Prefer="wait=10")
        assert first["status"] == "accepted"
        signal_internal(internal, signal.SIGSTOP)
        second = client.submit(message())
        until(lambda: client.state(second["id"])["status"] == "sending", "a transaction under way")
        calendar.set_by(BEGIN + hours)
        # On the same connection, whose deadlines are not over either.
        assert client.request("GET", "/v1/whoami").status == 200
        signal_internal(internal, signal.SIGCONT)
        until(lambda: client.state(second["id"])["status"] == "accepted", "its end")
    assert len(internal.kept()) == 2
    assert undisturbed(gateway)
    gateway.stop()


@HOURS
def test_what_waits_for_the_internal_server_goes_out_when_it_returns(
    gateway: Gateway, internal: InternalServer, calendar: Calendar, hours: int
) -> None:
    internal.stop()
    with gateway.client() as client:
        sent = [client.submit(message())["message_id"] for _ in range(20)]
        until(lambda: bool(gateway.events("upstream.down")), "that the server is down")
        calendar.set_by(BEGIN + hours)
        sent += [client.submit(message())["message_id"] for _ in range(20)]
    internal.start()
    until(lambda: sorted(internal.message_ids()) == sorted(map(str, sent)), "all messages", 60)
    assert undisturbed(gateway)
    gateway.stop()


def test_what_is_scheduled_follows_the_calendar(
    gateway: Gateway, internal: InternalServer, calendar: Calendar
) -> None:
    later = (datetime.now(UTC) + timedelta(hours=BEGIN + 2)).isoformat()
    with gateway.client() as client:
        scheduled = client.submit(message(scheduled_at=later))
        assert scheduled["status"] == "scheduled"
        calendar.set_by(BEGIN + 3)
        until(lambda: client.state(scheduled["id"])["status"] == "accepted", "the message in time")
    assert len(internal.kept()) == 1


@pytest.fixture
def cluster(calendar: Calendar) -> Iterator[Cluster]:
    """A server that looks at the calendar."""
    with calendar.shown():
        server = Cluster().initialise().start()
    server.ask("CREATE DATABASE mail")
    yield server
    server.remove()


@HOURS
def test_a_servers_calendar_ends_nobodys_lease(
    shared: Gateway,
    another: Gateway,
    internal: InternalServer,
    cluster: Cluster,
    calendar: Calendar,
    hours: int,
) -> None:
    upgrade(shared)
    for gateway in (shared, another):
        gateway.start()
    with shared.client() as client:
        assert client.submit(message(), Prefer="wait=10")["status"] == "accepted"
        signal_internal(internal, signal.SIGSTOP)
        sent = client.submit(message())
        until(lambda: client.state(sent["id"])["status"] == "sending", "a transaction under way")
        calendar.set_by(BEGIN + hours)
        until(lambda: _leased_for(cluster) == [True], "a lease by the new time")
        signal_internal(internal, signal.SIGCONT)
        until(lambda: client.state(sent["id"])["status"] == "accepted", "its end")
    for gateway in (shared, another):
        assert undisturbed(gateway)
        gateway.stop()
    assert len(internal.kept()) == 2


def _leased_for(cluster: Cluster) -> list[object]:
    """Tell of each lease whether it lasts a while, and not for hours, by the server's time."""
    rest = "due_at - extract(epoch FROM clock_timestamp())"
    return [
        row[0] for row in cluster.ask(f"SELECT {rest} BETWEEN 15 AND 31 FROM messages WHERE lease <> ''", "mail")
    ]


@HOURS
def test_a_servers_calendar_stalls_nothing(
    shared: Gateway, internal: InternalServer, calendar: Calendar, hours: int
) -> None:
    upgrade(shared)
    shared.start()
    internal.stop()
    with shared.client() as client:
        sent = [client.submit(message())["message_id"] for _ in range(20)]
        until(lambda: bool(shared.events("upstream.down")), "that the server is down")
        calendar.set_by(BEGIN + hours)
        sent += [client.submit(message())["message_id"] for _ in range(20)]
    internal.start()
    until(lambda: sorted(internal.message_ids()) == sorted(map(str, sent)), "all messages", 60)
    assert undisturbed(shared)
    shared.stop()
