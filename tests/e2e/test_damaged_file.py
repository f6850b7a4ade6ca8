"""A queue's file that was damaged: refused in words and left as it is, or noticed while running, and salvaged."""

import os
import random
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest
from harness.gateway import message
from harness.waiting import until

TORTURE = "MAILGATE_DISK_TORTURE" in os.environ
RANDOM_DAMAGES = 30 if TORTURE else 1
MESSAGES = 200
PAGE = 4096


@pytest.fixture
def held(internal, new_gateway):
    """A gateway that has ended in order, with messages in its queue; the internal server is off."""
    internal.stop()
    gateway = new_gateway(internal.port).start()
    with gateway.client() as client:
        answers = [client.submit(message(f"{number}번", text="가나다\n" * 700)) for number in range(MESSAGES)]
    assert {answer.status for answer in answers} == {202}, [each.body for each in answers if each.status != 202]
    gateway.stop()
    gateway.identifiers = [answer["id"] for answer in answers]
    return gateway


@pytest.fixture
def path(held):
    return held.stage.folder / "queue" / "mailgate.db"


def zeroed_header(octets):
    return bytes(100) + octets[100:]


def zeroed_first_page(octets):
    return octets[:100] + bytes(PAGE - 100) + octets[PAGE:]


def half(octets):
    return octets[: len(octets) // 2]


def not_a_page(octets):
    return octets[:-1000]


def garbage(_octets):
    return random.Random(1).randbytes(100_000)


def refused(gateway):
    """Start in vain; return the last thing that was said."""
    program = gateway.launch()
    until(lambda: not program.running, "the end of a start in vain")
    assert program.stop() == 1
    assert "Traceback" not in program.printed
    return program.printed.splitlines()[-1]


def test_a_file_that_is_damaged_or_anothers_is_refused_in_a_sentence_and_left_as_it_is(held, path):
    whole = path.read_bytes()
    for damage in (zeroed_header, zeroed_first_page, half, not_a_page, garbage):
        damaged = damage(whole)
        path.write_bytes(damaged)
        sentence = refused(held)
        assert f"the queue {path} is " in sentence, damage
        assert path.read_bytes() == damaged, damage
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE 사진 (x)")
    others = path.read_bytes()
    assert "holds the tables of another program" in refused(held)
    assert path.read_bytes() == others


def test_garbage_for_a_log_is_refused_and_hides_nothing_that_is_in_the_file(held, path, internal):
    log = path.with_name(path.name + "-wal")
    garbage = random.Random(2).randbytes(50_000)
    log.write_bytes(garbage)
    assert f"the log {log} of the queue is damaged" in refused(held)
    assert log.read_bytes() == garbage
    log.unlink()
    internal.start()
    held.start()
    until(lambda: len(internal.files()) == MESSAGES, "every message", 60)
    held.stop()


@pytest.mark.parametrize("seed", range(RANDOM_DAMAGES))
def test_pages_of_garbage_are_noticed_at_the_start_or_told_while_running(seed, held, path, internal):
    chance = random.Random(seed)
    octets = bytearray(path.read_bytes())
    pages = chance.choice((1, 3, 10))
    for _ in range(pages):
        at = chance.randrange(len(octets) // PAGE) * PAGE
        octets[at : at + PAGE] = chance.randbytes(PAGE)
    path.write_bytes(octets)
    internal.start()
    program = held.launch()
    until(lambda: not program.running or '"gateway.started"' in program.printed, "a start or a refusal")
    if program.running:
        # Garbage within a text can't be told from text, and the internal server makes of it what it likes.
        until(
            lambda: "is damaged" in program.printed or len(internal.files()) >= MESSAGES - pages,
            "damage or delivery",
            60,
        )
        if "is damaged" in program.printed:
            with held.client() as client:
                answer = client.submit(message())
                assert (answer.status, answer["code"]) == (503, "storage_unavailable")
                assert "is damaged" in answer["detail"]
        program.kill()
    else:
        assert program.printed.splitlines()[-1].startswith(f"mailgate: the queue {path} is ")
        assert path.read_bytes() == octets
    assert "Traceback" not in program.printed


def test_what_was_salvaged_is_delivered_and_the_rest_has_failed(held, path, internal):
    if shutil.which("sqlite3") is None:
        pytest.skip("the sqlite3 program is not installed")
    octets = bytearray(path.read_bytes())
    # In the midst of the contents: the list of what there is stays whole.
    middle = len(octets) // PAGE // 2 * PAGE
    octets[middle : middle + PAGE] = bytes(PAGE)
    path.write_bytes(octets)
    salvaged = path.with_name("salvaged.db")
    dump = f"sqlite3 '{path}' .dump | sed 's/^ROLLBACK;.*/COMMIT;/' | sqlite3 '{salvaged}'"
    subprocess.run(dump, shell=True, check=True, capture_output=True)
    path.rename(path.with_name("damaged.db"))
    salvaged.rename(path)
    internal.start()
    held.start()
    statuses = []
    with held.client() as client:
        for identifier in held.identifiers:
            until(lambda each=identifier: client.state(each)["status"] in ("accepted", "failed"), "an end", 60)
            statuses.append(client.state(identifier)["status"])
    held.stop()
    assert statuses.count("accepted") == len(internal.files())
    assert len(statuses) == MESSAGES
    assert statuses.count("accepted") >= MESSAGES // 2
