"""Rates in memory: bounded, and fair to whoever sends."""

from mailgate.intake import rates
from mailgate.policy.rules import Rate


def test_what_is_left_is_told_without_taking():
    kept, rate = rates.Rates(), Rate(2, 60.0)
    assert kept.left("cam", rate, 0.0) == 2
    assert kept.take("cam", rate, 0.0) == 0
    assert kept.left("cam", rate, 0.0) == 1
    assert kept.left("cam", rate, 30.0) == 2


def test_many_clients_do_not_grow_it_without_bound_and_the_last_ones_are_kept(monkeypatch):
    monkeypatch.setattr(rates, "_MANY", 10)
    kept, rate = rates.Rates(), Rate(1, 86400.0)
    for number in range(100):
        kept.take(f"client-{number}", rate, 0.0)
    assert [kept.left(f"client-{number}", rate, 0.0) for number in range(90, 100)] == [0] * 10
    assert kept.left("client-0", rate, 0.0) == 1
