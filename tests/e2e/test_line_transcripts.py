"""The transcripts of docs/line-protocol.md, in both languages, are what a real gateway says."""

import re
from pathlib import Path

import pytest

from mailgate.ca.authority import DEFAULT_LEAF_DAYS, CertificateAuthority, ClientRequest
from mailgate.ca.issue import KeyType

DOCS = Path(__file__).parents[2] / "docs"
ENGLISH, KOREAN = DOCS / "line-protocol.md", DOCS / "line-protocol.ko.md"
TRANSCRIPT = re.compile(r"^```transcript\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def transcripts(path):
    return TRANSCRIPT.findall(path.read_text("utf-8"))


@pytest.fixture
def devices(new_gateway, internal, stage):
    """Connect as the device of the transcripts."""
    authority = CertificateAuthority(stage.certificates)
    authority.issue_clients([ClientRequest("cam3")], KeyType.EC, DEFAULT_LEAF_DAYS, force=False)
    gateway = new_gateway(internal.port)
    gateway.hostname = "gw.example"
    gateway.tables["clients.cam3"] = {"senders": ["cam3@plant.example"]}
    gateway.start()
    return lambda: gateway.device("cam3")


def perform(transcript, connect):
    """Hold a conversation; a line that begins with two hyphens cuts the connection."""
    device = connect()
    expected = [device.greeting]
    for line in transcript.splitlines():
        side, _, text = line.partition(" ")
        if side == "--":
            device.tls.close()
            device = connect()
            expected.append(device.greeting)
        elif side == "C":
            device.send(f"{text}\n")
        else:
            assert side == "S", line
            said = expected.pop() if expected else device.line()
            pattern = "[^ ]+".join(map(re.escape, text.split("…")))
            assert re.fullmatch(pattern, said), f"{said!r} is not {text!r}"
    device.tls.close()


def test_each_transcript_happens_as_it_is_told(devices):
    told = transcripts(ENGLISH)
    assert len(told) >= 5
    for transcript in told:
        perform(transcript, devices)


def test_both_languages_tell_the_same():
    assert transcripts(KOREAN) == transcripts(ENGLISH)
    tables = [
        re.findall(r"^\| ([2-5][0-9]{2} [245]\.\S+) ", path.read_text("utf-8"), re.MULTILINE)
        for path in (ENGLISH, KOREAN)
    ]
    assert tables[0] == tables[1]
    grammars = [
        re.findall(r"^```abnf\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        for path in (ENGLISH, KOREAN)
    ]
    assert [re.sub(r";.*", "", each) for each in grammars[0]] == [re.sub(r";.*", "", each) for each in grammars[1]]


def test_each_verb_has_its_line_in_the_document(devices):
    with devices() as device:
        verbs = device.say("HELP\n").split(" ")[3:]
    for path in (ENGLISH, KOREAN):
        text = path.read_text("utf-8")
        assert [verb for verb in verbs if not re.search(rf"`{verb}[` #\[]", text)] == []
