"""The thread between the reactor and the database."""

import pytest
from twisted.internet.defer import gatherResults

from mailgate.queue import worker as module
from mailgate.queue.interface import QueueError
from mailgate.queue.worker import Call, Worker


class Doubling:
    """Doubles what it is given; notes how it came."""

    def __init__(self, fault=None):
        self.groups = []
        self.fault = fault

    def run(self, calls):
        self.groups.append(len(calls))
        for call in calls:
            if call.request == "bad":
                raise RuntimeError("secret")
            call.result = call.request * 2

    def close(self):
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def start(turns):
    def start(executor):
        return Worker("test", executor, turns)

    return start


def stop(worker, turns):
    worker.stop()
    turns.wait(worker.ended)


def test_calls_of_one_turn_go_together(start, turns):
    executor = Doubling()
    worker = start(executor)
    results = turns.wait(gatherResults([worker.put(Call(number)) for number in range(5)]))
    assert results == [0, 2, 4, 6, 8]
    assert executor.groups == [5]
    stop(worker, turns)


def test_groups_are_bounded_by_number_and_by_weight(start, turns, monkeypatch):
    monkeypatch.setattr(module, "MAX_CALLS", 4)
    monkeypatch.setattr(module, "MAX_OCTETS", 100)
    executor = Doubling()
    worker = start(executor)
    weights = [0] * 6 + [60, 60, 500, 1]
    results = turns.wait(gatherResults([worker.put(Call(octets, octets)) for octets in weights]))
    assert results == [weight * 2 for weight in weights]
    assert executor.groups == [4, 4, 1, 1]
    stop(worker, turns)


def test_an_error_becomes_the_result_and_the_thread_lives_on(start, turns):
    worker = start(Doubling())
    with pytest.raises(QueueError, match="RuntimeError") as caught:
        turns.wait(worker.put(Call("bad")))
    assert "secret" not in str(caught.value)
    assert turns.wait(worker.put(Call(21))) == 42
    stop(worker, turns)


def test_what_was_put_is_done_before_the_end(start, turns):
    worker = start(Doubling())
    deferreds = [worker.put(Call(number)) for number in range(3)]
    stop(worker, turns)
    assert [turns.wait(deferred) for deferred in deferreds] == [0, 2, 4]


@pytest.mark.parametrize("fault", [QueueError("QueueError, in words"), ValueError("x")])
def test_a_failed_end_is_told_in_words(start, turns, fault):
    worker = start(Doubling(fault))
    worker.stop()
    with pytest.raises(QueueError, match=type(fault).__name__):
        turns.wait(worker.ended)
