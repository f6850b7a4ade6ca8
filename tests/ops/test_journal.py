"""The journal: JSON lines, whatever is logged and wherever they go."""

import io
import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from twisted.logger import Logger, LogLevel, LogPublisher

from mailgate.model.outcome import Status
from mailgate.ops.journal import JournalObserver, LogJournal, StreamJournal, standard_output_journal


@pytest.fixture
def stream():
    return io.StringIO()


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().rstrip("\n").split("\n")]


def test_an_event_is_one_line_with_its_name_and_the_time(stream):
    StreamJournal(stream).record("message.accepted", message="0198", client="카메라", reason=None)
    (line,) = lines(stream)
    assert abs(datetime.fromisoformat(line.pop("time")) - datetime.now(UTC)) < timedelta(minutes=1)
    assert line == {"event": "message.accepted", "message": "0198", "client": "카메라"}
    assert "카메라" in stream.getvalue()


def test_a_line_break_in_a_field_does_not_begin_a_line(stream):
    StreamJournal(stream).record("handshake.refused", reason="no\nsuch\r\nthing", subject="CN=\u2028")
    assert len(stream.getvalue().split("\n")) == 2
    assert lines(stream)[0]["reason"] == "no\nsuch\r\nthing"


def test_a_value_that_json_does_not_know_is_written_as_text(stream):
    StreamJournal(stream).record("x", status=Status.DEFERRED, where=object)
    assert lines(stream)[0]["status"] == "deferred"


def test_a_file_name_that_is_not_utf_8_costs_neither_the_line_nor_the_gateway(stream):
    StreamJournal(stream).record("gateway.started", settings=os.fsdecode(b"/srv/\xb8\xde.toml"))
    assert lines(stream)[0]["settings"] == r"/srv/\udcb8\udcde.toml"
    LogJournal().record("gateway.started", settings=os.fsdecode(b"/srv/\xb8\xde.toml"))


def test_a_stream_that_has_gone_away_does_not_stop_the_gateway():
    class Gone(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

    StreamJournal(Gone()).record("message.accepted")
    closed = io.StringIO()
    closed.close()
    StreamJournal(closed).record("message.accepted")


def test_standard_output_is_utf_8_whatever_the_locale(monkeypatch):
    octets = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(octets, encoding="ascii"))
    standard_output_journal().record("delivery.deferred", text="나중에 다시")
    assert "나중에 다시" in octets.getvalue().decode()


def test_what_twisted_logs_has_the_same_form(stream):
    log = Logger("twisted.web", observer=LogPublisher(JournalObserver(StreamJournal(stream))))
    log.error("{thing} is odd", thing="this")
    try:
        raise ValueError("broken")
    except ValueError:
        log.failure("it failed", level=LogLevel.critical)
    first, second = lines(stream)
    assert (first["event"], first["source"], first["text"]) == ("log.error", "twisted.web", "this is odd")
    assert second["event"] == "log.critical"
    assert second["defect"].startswith("ValueError at tests/ops/test_journal.py:")
    assert "broken" not in stream.getvalue()
