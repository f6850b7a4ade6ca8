"""Where the reactor's thread spends its time: a cProfile of the gateway, summed up by room and library."""

import pstats
from collections import defaultdict
from pathlib import Path

import mailgate

Function = tuple[str, int, str]

ROOMS = [
    ("mailgate/doors", "doors (Klein and twisted.web glue)"),
    ("mailgate/wire", "wire (JSON, MIME, SMTP codecs)"),
    ("mailgate/policy", "policy"),
    ("mailgate/intake", "intake"),
    ("mailgate/queue", "queue (reactor's side)"),
    ("mailgate/delivery", "delivery"),
    ("mailgate/ops", "ops (journal)"),
    ("mailgate/model", "model"),
    ("mailgate/", "mailgate, the rest"),
    ("twisted/protocols/tls", "TLS (OpenSSL through twisted)"),
    ("OpenSSL/", "TLS (OpenSSL through twisted)"),
    ("twisted/web", "twisted.web"),
    ("werkzeug/", "Klein"),
    ("klein/", "Klein"),
    ("twisted/mail", "twisted.mail"),
    ("twisted/internet/defer", "Deferreds"),
    ("twisted/internet", "reactor and sockets"),
    ("twisted/logger", "twisted.logger"),
    ("twisted/", "twisted, the rest"),
    ("sqlalchemy/", "SQLAlchemy"),
]
REST = "everything else"
OURS = Path(mailgate.__file__).parents[1]
IDLE = ("poll", "select", "sleep")


def shares(stats: Path) -> list[tuple[str, float]]:
    """Return each room with its share of the time that was not spent waiting, the largest first."""
    table = pstats.Stats(str(stats)).stats
    seconds: dict[str, float] = defaultdict(float)
    for function, (_, _, own, _, callers) in table.items():
        if any(name in function[2] for name in IDLE) and function[0] == "~":
            continue
        if function[0] != "~":
            seconds[_room(function)] += own
            continue
        # What C code spends belongs to whoever calls it.
        for caller, (_, _, of_caller, _) in callers.items():
            seconds[_room(caller)] += of_caller
    total = sum(seconds.values())
    return sorted(((room, spent / total) for room, spent in seconds.items()), key=lambda each: -each[1])


def _room(function: Function) -> str:
    path = function[0].removeprefix(f"{OURS}/").rpartition("site-packages/")[2]
    for start, room in ROOMS:
        if path.startswith(start):
            return room
    return REST
