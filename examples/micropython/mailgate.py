"""
A client of the mailgate line protocol with nothing but `socket` and `ssl`, for MicroPython and Python alike.

    gate = Gate("gate.example.com", 8465, "ca.crt", "device.crt", "device.key")
    fields = [("FROM", "cam3@example.com"), ("TO", "ops@example.com"), ("TEXT", "Zone 4 is hot.")]
    gate.deliver(Message(new_key(), fields, ("photo.jpg", "image/jpeg", "photo.jpg")))

On a device, `time.sleep` may be a deep sleep, and files in DER form (`openssl x509 -outform DER`) save memory.
"""

import binascii
import os
import select
import socket
import ssl
import sys
import time

FORGET, LATER, GIVE_UP = 2, 4, 5
SECONDS = 60
LONGEST_WAIT = 3600
PIECE = 512
LARGEST_COUNT = 999999999
# No message has fewer octets of header fields.
LEAST_HEADER = 256
LOST = "lost"
KEY_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-"


class UnfitError(Exception):
    """The message can't be handed over, whatever the gateway would say; the text says why."""


class Gate:
    """
    A gateway, and the files of the device that may speak to it; raises UnfitError where those can't be used.

    `reply` is the last one, or "lost".
    """

    def __init__(self, host, port, ca, certificate, key):
        self.host = host
        self.port = port
        self.reply = LOST
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.tls.verify_mode = ssl.CERT_REQUIRED
        authority, own = der(ca), (der(certificate), der(key))
        if sys.implementation.name != "micropython":
            own = certificate, key
        try:
            self.tls.load_verify_locations(cadata=authority)
            self.tls.load_cert_chain(*own)
        except (OSError, ValueError) as error:
            raise UnfitError("%s, %s or %s: %s" % (ca, certificate, key, error)) from None

    def deliver(self, message, tries=10):
        """Hand a message over, the same at each try; return FORGET or GIVE_UP, or LATER after all tries."""
        for made in range(1, tries + 1):
            try:
                outcome = self.send(message)
            except UnfitError as error:
                complain(error)
                return GIVE_UP
            print(self.reply)
            if outcome != LATER:
                return outcome
            if made < tries:
                seconds = self.wait(made)
                complain("again in %d s" % seconds)
                time.sleep(seconds)
        return LATER

    def send(self, message):
        """
        Try once; return FORGET, LATER or GIVE_UP. A connection that is lost before the reply is LATER.

        Raises UnfitError where the message is too large or its file has changed.
        """
        welcome, connection = False, None
        self.reply = LOST
        try:
            connection = Connection(self.host, self.port, self.tls)
            self.reply = connection.read_reply()
            welcome = self.reply.startswith("2")
            if welcome:
                message.check_size(number("size", self.reply))
                self.reply = LOST
                connection.write_all(message.pieces())
                self.reply = connection.read_reply()
        except (OSError, ValueError) as error:  # MicroPython tells a wrong certificate by a ValueError
            complain("lost: %s" % error)
        finally:
            if connection is not None:
                connection.close()
        if self.barred:
            complain("the gateway takes nothing from this device for now; the message is kept")
        # Neither a greeting nor 535 is about the message.
        about_message = welcome and not self.barred
        return {"2": FORGET, "5": GIVE_UP}.get(self.reply[:1], LATER) if about_message else LATER

    @property
    def barred(self):
        """Whether no message of this device is taken until somebody acts."""
        return self.reply.startswith("535")

    def wait(self, made):
        """
        Return the seconds to wait after so many tries.

        They are what was asked for, else an hour where somebody has to act first, else 5 doubling up to an hour.
        """
        random = os.urandom(1)[0] / 255
        asked = number("retry", self.reply)
        if asked:
            return asked * (1 + random / 4)
        wait = LONGEST_WAIT if self.barred else min(5 * 2 ** min(made - 1, 10), LONGEST_WAIT)
        return wait * (1 - random / 4)


class Message:
    """
    What is to be sent: a list of verbs and texts, and a file as its path, content type and name.

    Raises ValueError where key, type or name can't stand in a line, UnfitError where the file can't be read.
    """

    def __init__(self, key, fields, file=None):
        if not 1 <= len(key) <= 64 or any(character not in KEY_CHARACTERS for character in key):
            raise ValueError("an idempotency key is 1 to 64 of A-Z a-z 0-9 . _ : -")
        self.key = key.encode()
        self.fields = [(verb, text.encode()) for verb, text in fields]
        self.path, self.size = None, 0
        if file is not None:
            self.path, content_type, name = file
            if not is_argument(name, " "):
                raise ValueError("a file's name has 1 to 255 octets and no control characters")
            if not is_argument(content_type, "!"):
                raise ValueError("a file's type has 1 to 255 octets and neither spaces nor control characters")
            self.type_and_name = ("%s %s" % (content_type, name)).encode()
            self.size = size_of(self.path)

    def check_size(self, limit):
        """Raise UnfitError where the message is larger than the gateway takes; a close thing is left to it."""
        texts = sum(len(octets) for verb, octets in self.fields if verb in ("TEXT", "HTML"))
        # A file goes on as base64, in lines of 78 octets for each 57.
        composed = LEAST_HEADER + texts + (self.size + 56) // 57 * 78
        if self.size > LARGEST_COUNT or (limit and composed > limit):
            raise UnfitError("the message is too large: the gateway takes %d octets" % limit)

    def pieces(self):
        """Yield all octets of it up to SEND; raises UnfitError where its file has changed."""
        yield b"MAIL %s\n" % self.key
        for verb, octets in self.fields:
            yield b"%s#%d\n%s\n" % (verb.encode(), len(octets), octets)
        if self.path is not None:
            yield b"FILE#%d %s\n" % (self.size, self.type_and_name)
            yield from pieces_of(self.path, self.size)
            yield b"\n"
        yield b"SEND\n"


class Connection:
    """A connection to a gateway; raises OSError and ValueError, as all its methods do, when it is lost."""

    def __init__(self, host, port, tls):
        address = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
        self.plain = socket.socket(address[0])
        self.ready = select.poll()
        try:
            self.plain.settimeout(SECONDS)
            self.plain.connect(address[-1])
            # The socket below TLS, since MicroPython is slow to look at others.
            self.ready.register(self.plain, select.POLLIN | select.POLLOUT)
            # MicroPython would wait forever for a handshake on its own, but not for one within the first read.
            self.tls = tls.wrap_socket(self.plain, server_hostname=host, do_handshake_on_connect=False)
        except (OSError, ValueError):
            self.plain.close()
            raise

    def read_reply(self):
        """Return the next final line, without its end."""
        line = b""
        while True:
            octet = self.tls.read(1)
            if not octet:
                raise OSError("the connection has ended, or nothing came for %d s" % SECONDS)
            if octet != b"\n":
                # So many octets tell all that matters; the rest of a long line is passed over.
                if len(line) < 255:
                    line += octet
            elif line[3:4] == b"-":
                line = b""
            else:
                return line.decode()

    def write_all(self, pieces):
        """Write pieces to the last, or until the gateway takes no more: it may have said why."""
        try:
            for piece in pieces:
                if not self.write(piece):
                    return
        except OSError as error:
            complain("writing: %s" % error)

    def write(self, octets):
        """Write all octets; return False where the gateway speaks before it was asked, or takes no more."""
        view = memoryview(octets)
        while view:
            events = self.ready.poll(SECONDS * 1000)
            # After a write that has failed MicroPython reads nothing either, so what is there comes first.
            if not events or events[0][1] != select.POLLOUT:
                return False
            view = view[self.tls.write(view) or 0 :]
        return True

    def close(self):
        """End it."""
        self.tls.close()
        self.plain.close()


def new_key():
    """Return a key that nobody made before: random numbers of this boot. Store it before the first try."""
    return "".join("%02x" % octet for octet in os.urandom(12))


def der(path):
    """Return what a file holds, which may be PEM, in DER form; raises UnfitError."""
    try:
        with open(path, "rb") as file:
            octets = file.read()
        if not octets.startswith(b"-----BEGIN"):
            return octets
        lines = octets.split(b"-----END")[0].split(b"\n")[1:]
        return binascii.a2b_base64(b"".join(line.strip() for line in lines))
    except (OSError, ValueError) as error:
        raise UnfitError("%s: %s" % (path, error)) from None


def size_of(path):
    """Return the octets of a file; raises UnfitError."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise UnfitError("%s: %s" % (path, error)) from None
    if status[0] & 0xF000 != 0x8000:
        raise UnfitError("%s is not a file" % path)
    return status[6]


def pieces_of(path, size):
    """Yield the first octets of a file; raises UnfitError where there are not so many any more."""
    try:
        with open(path, "rb") as file:
            while size:
                piece = file.read(min(size, PIECE))
                if not piece:
                    raise UnfitError("%s: it has become shorter" % path)
                size -= len(piece)
                yield piece
    except OSError as error:
        raise UnfitError("%s: %s" % (path, error)) from None


def is_argument(text, least):
    """Return whether a text can stand in a line uncounted: no character before `least`, no DEL."""
    return 1 <= len(text.encode()) <= 255 and all(least <= each != "\x7f" for each in text)


def number(name, reply):
    """Return the number of the word `name=` in a reply, or 0."""
    for word in reply.split():
        if word.startswith(name + "=") and word[len(name) + 1 :].isdigit():
            return int(word[len(name) + 1 :])
    return 0


def complain(why):
    """Tell the person who looks."""
    print(why, file=sys.stderr)
