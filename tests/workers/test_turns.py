"""Workers write into an SQLite queue one after the other."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

from sqlalchemy import text
from twisted.internet.task import Clock

from mailgate.queue.sqlite import SqliteDatabase
from mailgate.workers.memory import make_memory, own_description

HOLDING = """
import sys
from pathlib import Path
from mailgate.queue.sqlite import SqliteDatabase
from mailgate.workers.memory import own_description
from twisted.internet.task import Clock
database = SqliteDatabase(Path(sys.argv[1]), Clock(), Clock().seconds)
database.join(own_description(int(sys.argv[2])))
with database.turn():
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_a_turn_is_waited_for_and_ends_with_its_process(tmp_path: Path):
    path, turn = tmp_path / "mail.db", make_memory("turn")
    clock = Clock()
    owner = SqliteDatabase(path, clock, clock.seconds)
    owner.open()
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(path), str(turn)],
        pass_fds=(turn,),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with other:
        assert other.stdout.readline() == b"mine\n"
        database, done = SqliteDatabase(path, clock, clock.seconds), Event()
        own = own_description(turn)
        database.join(own)

        def write() -> None:
            with database.turn(), database.writer() as connection, connection.begin():
                connection.execute(text("DELETE FROM usage"))
            done.set()

        writer = Thread(target=write)
        writer.start()
        assert not done.wait(0.5)
        other.kill()
        assert done.wait(30)
        writer.join()
    database.close()
    assert database.lock is None
    assert owner.lock is not None
    owner.close()
    os.close(own)
    os.close(turn)
