"""Memory for request bodies: one client's uploads leave room for the others'."""

from hypothesis import given
from hypothesis import strategies as st

from mailgate.doors.bodies import IN_FLIGHT, Bodies
from mailgate.model.refusal import RefusalCode

MIB = 1024 * 1024


def test_one_client_can_use_a_quarter_and_the_others_still_have_room():
    bodies = Bodies(largest=MIB)
    bodies.hold("greedy", IN_FLIGHT // 4)
    refusal = bodies.refuse("greedy", 1)
    assert refusal.code is RefusalCode.QUEUE_FULL
    assert refusal.retry_after
    assert bodies.refuse("modest", IN_FLIGHT // 4) is None


def test_the_largest_body_always_fits_into_one_clients_part():
    bodies = Bodies(largest=IN_FLIGHT)
    assert bodies.refuse("cam", IN_FLIGHT) is None
    assert bodies.refuse("cam", IN_FLIGHT + 1) is not None


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 80 * MIB)), max_size=40))
def test_what_is_let_in_never_exceeds_the_bounds_and_is_all_given_back(requests):
    bodies, held = Bodies(largest=MIB), []
    for client, octets in requests:
        if bodies.refuse(client, octets) is None:
            bodies.hold(client, octets)
            held.append((client, octets))
        assert bodies.held <= IN_FLIGHT
    for client, octets in held:
        bodies.hold(client, -octets)
    assert bodies.held == 0
    assert all(bodies.refuse(client, IN_FLIGHT // 4) is None for client in "abcdefgh")
