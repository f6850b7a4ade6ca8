"""The line in which keys take turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.delivery.line import FairLine


def test_one_comes_before_the_second_of_another():
    line = FairLine()
    for number in range(5):
        line.append("많은", number)
    line.append("하나", "x")
    assert [line.popleft() for _ in range(3)] == [0, "x", 1]


def test_an_empty_line_has_nobody():
    with pytest.raises(IndexError):
        FairLine().popleft()


@given(st.lists(st.sampled_from("가나다") | st.none(), max_size=80))
def test_nobody_is_lost_and_nobody_waits_for_two_of_another(steps):
    line, waiting, served = FairLine(), {}, []
    for number, key in enumerate(steps):
        if key is not None:
            line.append(key, (key, number))
            waiting[key, number] = []
        elif waiting:
            item = line.popleft()
            assert item == min((each for each in waiting if each[0] == item[0]), key=lambda each: each[1])
            for (waiter, since), seen in waiting.items():
                first = min(at for name, at in waiting if name == waiter)
                if since == first and waiter != item[0]:
                    seen.append(item[0])
                    assert len(seen) == len(set(seen)) or served[-1:] == []
            del waiting[item]
            for (waiter, _), seen in waiting.items():
                if waiter == item[0]:
                    seen.clear()
            served.append(item)
        assert len(line) == len(waiting)
