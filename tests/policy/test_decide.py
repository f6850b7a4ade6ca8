"""What a client may send: every fault is named and the first one decides."""

import pytest

from mailgate.model.address import Address
from mailgate.model.refusal import FaultCode, RefusalCode
from mailgate.policy.decide import decide
from mailgate.policy.rules import AddressPattern, ClientRules, Rate


def rules(senders=("*@x.kr",), recipients=("*",), **changes):
    return ClientRules(
        label="cam",
        certificates=("CN:cam",),
        senders=tuple(AddressPattern.parse(text) for text in senders),
        recipients=tuple(AddressPattern.parse(text) for text in recipients),
        **changes,
    )


def test_what_the_rules_allow_is_not_refused(parties):
    assert decide(rules(), parties(), size=100, max_message=100) is None


def test_the_envelope_sender_and_the_header_from_are_bound_alike(parties):
    spoofed_header = decide(rules(), parties(author="ceo@y.kr"), size=1, max_message=9)
    spoofed_envelope = decide(rules(), parties("ceo@y.kr", author="dev@x.kr"), size=1, max_message=9)
    for refusal in (spoofed_header, spoofed_envelope):
        assert refusal.code is RefusalCode.SENDER_NOT_ALLOWED
        assert [(fault.pointer, fault.code) for fault in refusal.faults] == [("/from", FaultCode.NOT_IN_POLICY)]
        assert "ceo@y.kr" in refusal.detail
        assert refusal.faults[0].address == "ceo@y.kr"


def test_an_internationalised_domain_is_told_as_people_read_it(parties):
    recipients = ("ceo@xn--vf4b131b.xn--3e0b707e",)
    refusal = decide(rules(recipients=["*@x.kr"]), parties(recipients=recipients), size=1, max_message=9)
    assert "ceo@회사.한국" in refusal.detail


def test_one_address_in_both_places_is_one_fault(parties):
    refusal = decide(rules(), parties("ceo@y.kr"), size=1, max_message=9)
    assert len(refusal.faults) == 1


def test_every_recipient_at_fault_is_named_with_its_place(parties):
    refusal = decide(
        rules(recipients=["*@y.kr"]),
        parties(recipients=("a@y.kr", "b@z.kr", "c@z.kr")),
        size=1,
        max_message=9,
    )
    assert refusal.code is RefusalCode.RECIPIENT_NOT_ALLOWED
    assert [fault.pointer for fault in refusal.faults] == ["/to/1", "/to/2"]


@pytest.mark.parametrize(("own", "gateway", "limit"), [(None, 10, 10), (5, 10, 5), (50, 10, 10)])
def test_the_smaller_limit_counts_and_is_told_with_the_actual_size(parties, own, gateway, limit):
    refusal = decide(rules(max_message=own), parties(), size=limit + 1, max_message=gateway)
    assert refusal.code is RefusalCode.MESSAGE_TOO_LARGE
    assert (refusal.limit, refusal.actual) == (limit, limit + 1)
    assert decide(rules(max_message=own), parties(), size=limit, max_message=gateway) is None


def test_all_faults_are_told_and_the_sender_decides(parties):
    refusal = decide(rules(recipients=["*@y.kr"]), parties("a@z.kr", ("b@z.kr",)), size=10, max_message=9)
    assert refusal.code is RefusalCode.SENDER_NOT_ALLOWED
    assert [fault.pointer for fault in refusal.faults] == ["/from", "/to/0", ""]


@pytest.mark.parametrize(
    ("pattern", "address", "matches"),
    [
        ("*", "a@b.kr", True),
        ("*@x.kr", "a@x.kr", True),
        ("*@X.KR", "a@x.kr", True),
        ("*@x.kr", "a@sub.x.kr", False),
        ("*@x.kr", "a@evil-x.kr", False),
        ("*@*.x.kr", "a@sub.x.kr", True),
        ("*@*.x.kr", "a@deep.sub.x.kr", True),
        ("*@*.x.kr", "a@x.kr", False),
        ("*@*.x.kr", "a@evilx.kr", False),
        ("Dev@x.kr", "dev@x.kr", True),
        ("dev@x.kr", "devil@x.kr", False),
        ("*@한국.kr", "a@xn--3e0b707e.kr", True),
    ],
)
def test_patterns(pattern, address, matches):
    assert AddressPattern.parse(pattern).matches(Address(*address.split("@"))) is matches


@pytest.mark.parametrize("text", ["", "x.kr", "@x.kr", "a@", "a*@x.kr", "a@*", "a@*x.kr", "a@x..kr", "a b@x y"])
def test_what_is_no_pattern_is_refused_in_words(text):
    with pytest.raises(ValueError, match=r".+ .+"):
        AddressPattern.parse(text)


@pytest.mark.parametrize("text", ["*", "*@x.kr", "*@*.한국.kr", "dev@x.kr"])
def test_a_pattern_is_shown_as_it_was_written(text):
    assert str(AddressPattern.parse(text)) == text


def test_a_client_can_be_told_its_rules():
    told = rules(
        doors=frozenset({"lines", "https"}),
        rate=Rate.parse("60/minute"),
        max_message=7,
        bounces=Address("운영", "xn--3e0b707e.kr"),
    ).describe()
    assert told == {
        "senders": ["*@x.kr"],
        "recipients": ["*"],
        "doors": ["https", "lines"],
        "rate": "60/minute",
        "quota": None,
        "max_message": 7,
        "bounces": "운영@한국.kr",
    }
    assert rules(quota=Rate.parse("5000/day")).describe()["quota"] == "5000/day"
    assert rules().describe()["doors"] is None


def test_only_ascii_letters_have_a_case():
    pattern = AddressPattern.parse("kim@x.kr")
    assert pattern.matches(Address("KIM", "x.kr"))
    # U+212A, whose lower case is the letter k: another mailbox that merely looks the same.
    assert not pattern.matches(Address("\N{KELVIN SIGN}im", "x.kr"))
