"""What holds for every session, whatever a client writes and however the network cuts it."""

from hypothesis import given
from hypothesis import strategies as st

from mailgate.model.submission import Submission
from mailgate.wire.lines import Answer, Check, Send, Stat

NOW = 1796083200.0

VERBS = [
    "MAIL k1",
    "mail",
    "FROM a@x.kr",
    "TO b@x.kr",
    "TO kim",
    "SUBJ 더움",
    "TEXT hot",
    "HDR X-A: b",
    "META a=b",
]
VERBS += [
    "DRYRUN",
    "CHECK",
    "SEND",
    "SEND",
    "DROP",
    "PING",
    "STAT k1",
    "HELP",
    "EXIT",
    "EHLO x",
    "",
    "MORE",
    "JSON {}",
]
hostile = st.lists(
    st.sampled_from(
        ["\nSEND\n", "SEND", "\n", "\r\n", "MAIL k\n", ".", "\n.\n", "PING\n", "\0", "\n\nEXIT\n", "김"]
    )
).map("".join)
counted_verbs = st.sampled_from(
    ["FROM", "SUBJ", "TEXT", "HTML", "FILE", "EMBED", "MORE", "JSON", "RAW", "PING", "NEW"]
)


def counted(verb, value):
    octets = value.encode()
    argument = " a/b c" if verb in {"FILE", "EMBED"} else ""
    return f"{verb}#{len(octets)}{argument}\n".encode() + octets + b"\n"


lines = st.sampled_from(VERBS).map(lambda line: line.encode() + b"\n")
sessions = st.lists(lines | st.builds(counted, counted_verbs, hostile) | st.binary(max_size=12), max_size=14).map(
    b"".join
)


def seen(event):
    """Return what a door would make of an event, as a value."""
    if isinstance(event, Send):
        made = event.message.compose(NOW)
        return event.message.key, made
    return event


def run(talk, *chunks):
    return [seen(event) for event in talk.say(*chunks)]


@given(sessions, st.data())
def test_any_split_of_the_octets_gives_the_same_events(Talk, octets, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=6)))
    chunks = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    whole, pieces, singles = Talk(), Talk(), Talk()
    expected = run(whole, octets)
    assert run(pieces, *chunks) == expected
    assert run(singles, *(bytes([octet]) for octet in octets)) == expected
    stores = [(store.octets, store.closed) for store in whole.stores]
    for talk in (pieces, singles):
        assert [(store.octets, store.closed) for store in talk.stores] == stores


@given(sessions)
def test_there_are_never_more_acceptances_than_sends(Talk, octets):
    accepted = [
        made for made in run(Talk(), octets) if isinstance(made, tuple) and isinstance(made[1], Submission)
    ]
    assert len(accepted) <= octets.upper().count(b"SEND")


@given(st.lists(st.tuples(counted_verbs, hostile), max_size=8), hostile)
def test_nothing_inside_a_counted_value_becomes_a_command(Talk, values, last):
    octets = b"MAIL k1\n" + b"".join(counted(verb, value) for verb, value in values)
    pings = sum(verb == "PING" for verb, _ in values)
    events = Talk().say(octets + counted("TEXT", last) + b"SEND\n" + b"STAT after\n")
    answers = [event for event in events[:-2] if isinstance(event, Answer)]
    assert len(answers) == len(events) - 2 == pings
    assert isinstance(events[-2], Send) or (isinstance(events[-2], Answer) and events[-2].reply.key == "k1")
    assert events[-1] == Stat("after")


@given(
    st.lists(
        st.sampled_from(["SEND", "CHECK", "DROP", "PING", "HELP", "STAT k", "MAIL", "TO a@x.kr"]), max_size=20
    )
)
def test_each_verb_that_is_owed_a_reply_makes_one_event_in_order(Talk, verbs):
    owed = [verb for verb in verbs if verb.split()[0] not in {"MAIL", "TO"}]
    kinds = {"PING": Answer, "HELP": Answer, "DROP": Answer, "STAT k": Stat}
    events = Talk().say("".join(f"{verb}\n" for verb in verbs))
    assert len(events) == len(owed)
    for verb, event in zip(owed, events, strict=True):
        assert isinstance(event, kinds.get(verb, Answer | Send | Check))
