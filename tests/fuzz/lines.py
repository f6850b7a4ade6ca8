"""
Random sessions of the line protocol, by the million: no exception, no hang, no growth, and what always holds.

``python tests/fuzz/lines.py INPUTS [SEED]`` runs on each core. An input is a whole session, cut at random; half of
them are made of likely pieces, the others are mutations of sessions that work.
"""

import os
import random
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from mailgate.model.submission import Submission
from mailgate.wire.lines import Answer, Check, LineLimits, LineSession, Send, Stat

NOW = 1796083200.0
LIMITS = LineLimits(size=400, body=1000, recipients=3)
SLOWEST = 0.25
GROWTH = 16 * 1024 * 1024
ROUND = 20_000

PIECES = [
    *(
        b"MAIL",
        b"MAIL k1",
        b"mail k.2:_-",
        b"FROM a@x.kr",
        b"FROM A <a@x.kr>",
        b"TO b@x.kr",
        b"CC c@x.kr",
        b"BCC d@x.kr",
    ),
    *(
        b"TO \xea\xb9\x80@x.kr",
        b"REPLY e@x.kr",
        b"SUBJ hot",
        b"SUBJ =?utf-8?q?=0A?=",
        b"HDR X-A: b",
        b"HDR Date: x",
    ),
    *(
        b"TEXT a",
        b"TEXT \xff",
        b"HTML <p>",
        b"AT 2026-12-01T09:00:00+09:00",
        b"AT x",
        b"META a=b",
        b"META =",
        b"DRYRUN",
    ),
    *(
        b"CHECK",
        b"SEND",
        b"SEND",
        b"DROP",
        b"PING",
        b"STAT k1",
        b"STAT",
        b"HELP",
        b"EXIT",
        b"EHLO x",
        b"NEW#3 x",
        b"MORE",
    ),
    *(
        b"FILE#5 a/b c",
        b"EMBED#5 a/b c",
        b"TEXT#5",
        b"HTML#5",
        b"MORE#5",
        b"SUBJ#5",
        b"FROM#6",
        b"PING#5",
        b"SEND#0",
    ),
    *(
        b"JSON#5",
        b"RAW#5",
        b"RAW#24",
        b"FILE#300 a/b c",
        b"FILE#1601 a/b c",
        b"FILE#999999999 a/b c",
        b"A#",
        b"B#01",
        b"#",
    ),
    *(
        b'JSON#47\n{"from": "a@x.kr", "to": "b@x.kr", "text": "x"}',
        b"From: a@x.kr\r\n\r\nSEND",
        b"x" * 300,
        b"x" * 1030,
    ),
    *(b"hello", b"a@x.kr", b"\0", b"\r", b"", b" ", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"{", b"-", b"\x1b[0m"),
]
ENDS = [b"\n", b"\n", b"\n", b"\r\n", b"", b"\n\n"]
SESSIONS = [
    b"MAIL k1\nFROM a@x.kr\nTO b@x.kr\nSUBJ hot\nTEXT x\nFILE#5 a/b c\nSEND\n\nMORE#2\n\xff\xd8\nSEND\nEXIT\n",
    b"MAIL k2\nFROM#6\na@x.kr\nTO b@x.kr\nRAW#24\nFrom: a@x.kr\r\n\r\nhello\r\n\nCHECK\nSEND\nSTAT k2\nPING\n",
    b'MAIL\nJSON#47\n{"from": "a@x.kr", "to": "b@x.kr", "text": "x"}\nCHECK\nSEND\nMAIL k3\nDROP\nHELP\n',
]


class Memory:
    """A store in memory that must be closed."""

    open = 0

    def __init__(self) -> None:
        self.octets = bytearray()
        Memory.open += 1

    @property
    def size(self) -> int:
        return len(self.octets)

    def append(self, octets: bytes) -> None:
        self.octets += octets

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        return bytes(self.octets[start:end])

    def close(self) -> None:
        Memory.open -= 1


def made_of_pieces(chance: random.Random) -> bytes:
    """Return a session of likely pieces."""
    pieces = chance.choices(PIECES, k=chance.randrange(1, 14))
    ends = chance.choices(ENDS, k=len(pieces))
    return b"".join(map(bytes.__add__, pieces, ends))


def mutated(chance: random.Random) -> bytes:
    """Return a session that works, changed here and there."""
    octets = bytearray(chance.choice(SESSIONS))
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(octets))
        kind = chance.randrange(4)
        if kind == 0:
            octets[at] = chance.randrange(256)
        elif kind == 1:
            del octets[at : at + chance.randrange(1, 9)]
            octets = octets or bytearray(b"\n")
        elif kind == 2:
            octets[at:at] = chance.choice(PIECES)
        else:
            octets[at] = chance.choice(b"\r\n #0123456789")
    return bytes(octets)


def run(octets: bytes, chance: random.Random) -> None:
    """Hold a session, and whatever must be true of it."""
    session = LineSession(LIMITS, Memory, lambda: NOW)
    position = accepted = 0
    over = False
    while position < len(octets):
        step = chance.randrange(1, 200)
        session.feed(octets[position : position + step])
        position += step
        while (event := session.next_event()) is not None:
            assert not over, "nothing comes after the end"
            if isinstance(event, Send):
                made = event.message.compose(NOW)
                accepted += isinstance(made, Submission)
                assert isinstance(made, Submission) or len(made.encode()) > 0
                event.message.close()
            elif isinstance(event, Answer):
                over = event.closes
                assert all(len(line) <= 255 and line.isascii() for line in event.reply.encode().splitlines(True))
            else:
                assert isinstance(event, Check | Stat)
    assert accepted <= octets.upper().count(b"SEND")
    session.close()
    assert Memory.open == 0, "a store was not closed"


def work(seed: int, inputs: int) -> tuple[float, int]:
    """Run so many inputs; return the slowest one's CPU seconds, and by how much the process grew in octets."""
    chance = random.Random(seed)
    slowest = 0.0
    before = 0
    for number in range(inputs):
        octets = (made_of_pieces if number % 2 else mutated)(chance)
        began = time.process_time()
        try:
            run(octets, chance)
        except BaseException:
            print(f"seed {seed}, input {number}: {octets!r}", flush=True)
            raise
        slowest = max(slowest, time.process_time() - began)
        if number == min(ROUND, inputs // 2):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return slowest, grown if before else 0


def main() -> None:
    """Share the inputs out to the cores, and fail if one of them found something."""
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    cores = os.cpu_count() or 1
    began = time.monotonic()
    with ProcessPoolExecutor(cores) as processes:
        results = list(processes.map(work, range(seed, seed + cores), [inputs // cores] * cores))
    slowest = max(result[0] for result in results)
    grown = max(result[1] for result in results)
    seconds = time.monotonic() - began
    speed = f"{inputs} inputs in {seconds:.0f} s on {cores} cores"
    print(f"{speed}: slowest {slowest * 1000:.1f} ms, growth {grown // 1024} KiB")
    assert slowest < SLOWEST, "an input took too long"
    assert grown < GROWTH, "the parser keeps what it should not"


if __name__ == "__main__":
    main()
