"""Gateways and internal servers as processes of their own, ended after each test."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.gateway import Gateway
from harness.internal import InternalServer
from harness.postfix import Postfix, missing, running_postfix
from harness.postgresql import Cluster

from mailgate.demo.stage import Stage, free_port

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session", autouse=True)
def _code_of_this_checkout() -> Iterator[None]:
    """The processes run the code under test, whatever is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        yield


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    prepared = Stage(tmp_path)
    prepared.prepare()
    return prepared


@pytest.fixture
def internal(stage: Stage) -> Iterator[InternalServer]:
    """A running internal server."""
    server = InternalServer(stage)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def new_gateway(stage: Stage) -> Iterator[Callable[..., Gateway]]:
    """Make a gateway, not yet started, whose upstreams listen at the given ports."""
    made: list[Gateway] = []

    def make(*upstreams: int, **options: str) -> Gateway:
        made.append(Gateway(stage.folder, *upstreams, **options))
        return made[-1]

    yield make
    for gateway in made:
        gateway.end()


@pytest.fixture
def gateway(internal: InternalServer, new_gateway: Callable[..., Gateway]) -> Gateway:
    """A running gateway in front of the internal server."""
    return new_gateway(internal.port).start()


@pytest.fixture
def postfix(stage: Stage) -> Iterator[Postfix]:
    """A running Postfix, a session's worth of configuration of its own."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with running_postfix(stage.certificates / "internal.crt", stage.certificates / "internal.key") as server:
        yield server


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A server with an empty database."""
    server = Cluster().initialise().start()
    server.ask("CREATE DATABASE mail")
    yield server
    server.remove()


@pytest.fixture
def shared(new_gateway: Callable[..., Gateway], internal: InternalServer, cluster: Cluster) -> Gateway:
    """A gateway, not yet started, whose queue is to be in that database."""
    gateway = new_gateway(internal.port)
    gateway.tables["queue"]["url"] = cluster.url("mail")
    gateway.tables["ops"] = {"listen": [f"tcp:{free_port()}:interface=127.0.0.1"]}
    return gateway


@pytest.fixture
def another(shared: Gateway, internal: InternalServer, tmp_path: Path) -> Iterator[Gateway]:
    """A second gateway on the same queue, with the same certificates."""
    folder = tmp_path / "둘째"
    shutil.copytree(shared.stage.certificates, folder / "certs")
    gateway = Gateway(folder, internal.port)
    gateway.hostname = "gate2.example.com"
    gateway.tables["queue"] = shared.tables["queue"]
    yield gateway
    gateway.end()
