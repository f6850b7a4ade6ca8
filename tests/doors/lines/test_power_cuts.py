"""A device that loses power at any octet, and sends again with the same key, has sent its message once."""

import pytest
from twisted.trial.unittest import SynchronousTestCase

PLAIN = b"MAIL k1\nFROM cam3@x.kr\nTO ops@x.kr\nSUBJ Overheat, 81 \xc2\xb0C\nTEXT Zone 4\nSEND\n"
PICTURE = (
    b"MAIL k1\nFROM#9\ncam3@x.kr\nTO ops@x.kr\nFILE#60 image/jpeg c.jpg\n"
    + b"SEND\n" * 12
    + b"\nMORE#3\n\xff\xd8\n\nSEND\n"
)
JSON = b'PING\nMAIL k1\nJSON#47\n{"from": "a@x.kr", "to": "b@x.kr", "text": "x"}\nCHECK\nSEND\nSTAT k1\nEXIT\n'
RAW = b"MAIL k1\r\nFROM a@x.kr\r\nTO b@x.kr\r\nRAW#20\r\nFrom: a@x.kr\n\nSEND\n\n\r\nSEND\r\n"
SESSIONS = {"plain": PLAIN, "picture": PICTURE, "json": JSON, "raw": RAW}


class PowerCutTests(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house):
        self.open_house = open_house

    def cut(self, octets, at, *, committing):
        """Send so many octets and vanish, while a commit is under way or not; return the house."""
        house = self.open_house()
        house.queue.hold = committing
        device = house.connect_device().greeted()
        device.send(octets[:at])
        device.leave()
        return house

    def send_again(self, house, octets):
        """Send all of a session over a new connection; return the reply about the message."""
        lines = house.connect_device().greeted().say(octets)
        return next(line for line in lines if line[:1] in "245" and " k1 " in line and "so far" not in line)

    def test_at_each_octet(self):
        for octets in SESSIONS.values():
            complete = octets.index(b"SEND", octets.index(b"k1")) if octets is PLAIN else octets.rindex(b"\nSEND")
            for at in range(len(octets) + 1):
                house = self.cut(octets, at, committing=False)
                stored = len(house.queue.messages)
                assert stored == 0 or at > complete, "what is not complete is not sent"
                reply = self.send_again(house, octets)
                assert reply.startswith("250 2.0.0 k1 id="), reply
                assert reply.endswith(" dup") == bool(stored)
                [message] = house.queue.messages.values()
                assert message.id in reply
                assert all(spool.closed for spool in house.spools)

    def test_in_the_middle_of_the_commit(self):
        for octets in SESSIONS.values():
            house = self.cut(octets, len(octets), committing=True)
            reply = self.send_again(house, octets)
            assert reply.startswith("450 4.2.0 k1 retry=1 "), reply
            house.queue.hold = False
            house.queue.release()
            assert self.send_again(house, octets).endswith(" dup")
            assert len(house.queue.messages) == 1
