"""How many connections one place may open."""

from mailgate.trust.connections import ConnectionLimits


def full(total, per_address, *addresses):
    limits = ConnectionLimits(total, per_address)
    for address in addresses:
        assert limits.refuse(address) is None
        limits.opened(address)
    return limits


def test_one_address_can_not_use_up_what_is_there_for_all():
    limits = full(10, 2, "192.0.2.1", "192.0.2.1")
    assert limits.refuse("192.0.2.1") is not None
    assert limits.refuse("192.0.2.2") is None
    limits.closed("192.0.2.1")
    assert limits.refuse("192.0.2.1") is None


def test_all_together_are_bounded():
    limits = full(2, 2, "192.0.2.1", "192.0.2.2")
    assert "limit of 2 open connections is reached" in limits.refuse("192.0.2.3")


def test_the_addresses_of_one_ipv6_subscriber_count_together():
    limits = full(10, 2, "2001:db8::1", "2001:db8::ffff:2")
    assert limits.refuse("2001:db8:0:0:1234::") is not None
    assert limits.refuse("2001:db8:0:1::1") is None
    limits.closed("2001:db8::1")
    assert limits.refuse("2001:db8::3") is None


def test_what_is_no_address_is_its_own():
    limits = full(10, 1, "a:b")
    assert limits.refuse("a:b") is not None
    assert limits.refuse("a:c") is None
