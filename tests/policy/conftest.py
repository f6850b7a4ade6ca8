"""Certificates, and the parties of messages, for decisions about them."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from mailgate.model.address import Address
from mailgate.model.identity import PeerCertificate
from mailgate.model.submission import Envelope, Parties, Recipient, Submission


@pytest.fixture
def certificate() -> Callable[..., PeerCertificate]:
    def make(common_name: str | None = "unique_client", **changes: object) -> PeerCertificate:
        values: dict[str, object] = {
            "subject": f"CN={common_name}",
            "common_name": common_name,
            "dns": (),
            "uris": (),
            "fingerprint": "ab" * 32,
            "spki": "cd" * 32,
            "serial": "1f",
            "not_before": datetime(2026, 1, 1, tzinfo=UTC),
            "not_after": datetime(2027, 1, 1, tzinfo=UTC),
        }
        return PeerCertificate(**(values | changes))

    return make


@pytest.fixture
def parties() -> Callable[..., Parties]:
    def make(
        sender: str = "dev@x.kr", recipients: tuple[str, ...] = ("kim@y.kr",), author: str | None = None
    ) -> Parties:
        envelope = Envelope(
            Address(*sender.split("@")),
            tuple(Recipient(Address(*text.split("@")), f"/to/{place}") for place, text in enumerate(recipients)),
        )
        return Submission(
            envelope=envelope,
            authors=(Address(*(author or sender).split("@")),),
            content=b"Subject: x\r\n\r\nx\r\n",
        ).parties

    return make
