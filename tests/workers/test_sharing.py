"""What workers count together, each through a mapping of its own as another process has it."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.intake.rates import Rates
from mailgate.policy.rules import Rate
from mailgate.workers.memory import SharedRows, make_memory
from mailgate.workers.share import portion
from mailgate.workers.sharing import SharedCounts, SharedRates, count_rows, forget_column, rate_rows


@pytest.fixture
def memory():
    descriptor = make_memory("test")
    yield descriptor
    os.close(descriptor)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["take", "give_back", "left", "wait"]),
            st.sampled_from(["카메라", "sensor", ""]),
            st.integers(0, 1),
            st.floats(0, 30),
        ),
        max_size=40,
    )
)
def test_rates_that_are_shared_are_those_of_one_process(steps):
    descriptor = make_memory("test")
    rows = [rate_rows(descriptor) for _ in range(2)]
    shared, alone = [SharedRates(each, "messages") for each in rows], Rates()
    rate, now = Rate(3, 60.0), 1_800_000_000.0
    for question, client, process, seconds in steps:
        now += seconds
        assert getattr(shared[process], question)(client, rate, now) == getattr(alone, question)(client, rate, now)
    for each in rows:
        each.close()
    os.close(descriptor)


def test_kinds_do_not_take_from_each_other(memory):
    rows = rate_rows(memory)
    rate = Rate(1, 60.0)
    assert SharedRates(rows, "messages").take("cam", rate, 0.0) == 0
    assert SharedRates(rows, "renewals").take("cam", rate, 0.0) == 0
    assert SharedRates(rows, "renewals").take("cam", rate, 0.0) == 60.0
    rows.close()


def test_where_clients_are_too_many_the_one_that_is_soonest_full_is_forgotten(memory):
    rows = SharedRows(memory, "ddd", 16)
    rates = SharedRates(rows, "messages")
    slow = Rate(1, 86400.0)
    assert rates.take("the one to be remembered", slow, 0.0) == 0
    for number in range(100):
        assert rates.take(f"client {number}", Rate(1, 60.0), 0.0) == 0
    assert rates.take("the one to be remembered", slow, 0.0) > 0
    rows.close()


def test_counts_add_up_and_go_with_the_one_who_counted(memory):
    rows = [count_rows(memory, 2, 100) for _ in range(2)]
    one, other = (SharedCounts(each, "address", column) for column, each in enumerate(rows))
    for counts in (one, one, other):
        counts.add("192.0.2.1")
    one.add("192.0.2.2")
    assert (one.of("192.0.2.1"), other.of("192.0.2.2"), other.of("192.0.2.3")) == (3, 1, 0)
    one.remove("192.0.2.1")
    assert other.of("192.0.2.1") == 2
    forget_column(rows[1], 0)
    assert (one.of("192.0.2.1"), one.of("192.0.2.2")) == (1, 0)
    # What was forgotten is not taken twice.
    one.remove("192.0.2.1")
    assert other.of("192.0.2.1") == 1
    assert SharedCounts(rows[0], "client", 0).of("192.0.2.1") == 0
    for each in rows:
        each.close()


COUNTING = """
import sys
from mailgate.workers.sharing import SharedCounts, SharedRates, count_rows, rate_rows
from mailgate.policy.rules import Rate
rates, counts = int(sys.argv[1]), int(sys.argv[2])
bucket = SharedRates(rate_rows(rates), "messages")
mine = SharedCounts(count_rows(counts, 4, 100), "address", int(sys.argv[3]))
taken = 0
for _ in range(2000):
    mine.add("192.0.2.1")
    taken += not bucket.take("cam", Rate(1000, 1e9), 0.0)
print(taken)
"""


def test_processes_at_once_lose_no_count(memory):
    other = make_memory("test")
    # The size is whoever comes first's; all give the same.
    rate_rows(other).close()
    rows = count_rows(memory, 4, 100)
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", COUNTING, str(other), str(memory), str(column)],
            pass_fds=(other, memory),
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for column in range(4)
    ]
    taken = [int(program.communicate(timeout=60)[0]) for program in programs]
    assert sum(taken) == 1000
    assert SharedCounts(rows, "address", 0).of("192.0.2.1") == 8000
    rows.close()
    os.close(other)


@given(st.integers(1, 1000), st.integers(1, 64))
def test_portions_come_to_the_whole_or_to_one_for_each(whole, workers):
    portions = [portion(whole, number, workers) for number in range(1, workers + 1)]
    assert sum(portions) == max(whole, workers)
    assert max(portions) - min(portions) <= 1
