"""
A client of the mailgate line protocol with nothing but `socket` and `ssl`, for MicroPython and Python alike.

    gate = Gate("gate.example.com", 8465, "ca.crt", "device.crt", "device.key")
    gate.deliver(new_key(), [("FROM", "cam3@example.com"), ("TO", "ops@example.com"), ("TEXT", "Zone 4 is hot.")])

On a device, `time.sleep` may be a deep sleep, and files in DER form (`openssl x509 -outform DER`) save memory.
"""

import binascii
import os
import socket
import ssl
import sys
import time

FORGET, LATER, GIVE_UP = 2, 4, 5
PIECE = 512


def new_key():
    """Return a key that nobody made before: random numbers of this boot. Store it before the first try."""
    return "".join("%02x" % octet for octet in os.urandom(12))


def der(path):
    """Return what a file holds, which may be PEM, in DER form."""
    with open(path, "rb") as file:
        octets = file.read()
    if not octets.startswith(b"-----BEGIN"):
        return octets
    lines = octets.split(b"-----END")[0].split(b"\n")[1:]
    return binascii.a2b_base64(b"".join(line.strip() for line in lines))


class Gate:
    """A gateway, and the files of the device that may speak to it."""

    def __init__(self, host, port, ca, certificate, key):
        self.host = host
        self.port = port
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.tls.verify_mode = ssl.CERT_REQUIRED
        self.tls.load_verify_locations(cadata=der(ca))
        if sys.implementation.name == "micropython":
            self.tls.load_cert_chain(der(certificate), der(key))
        else:
            self.tls.load_cert_chain(certificate, key)
        self.retry = 0
        self.reply = ""

    def deliver(self, key, fields, file=None, tries=10):
        """
        Hand a message over, with the same key at each try; return FORGET or GIVE_UP, or LATER after all tries.

        `fields` is a list of verbs and texts; `file` is None or a path, its content type and its name.
        """
        for made in range(1, tries + 1):
            outcome = self.send(key, fields, file)
            print(self.reply)
            if outcome != LATER or made == tries:
                return outcome
            time.sleep(self.wait(made))
        return LATER

    def send(self, key, fields, file=None):
        """Try once; return FORGET, LATER or GIVE_UP. A connection that is lost before the reply is LATER."""
        self.reply, self.retry = "lost", 0
        plain = None
        try:
            plain = self.connect()
            secure = self.tls.wrap_socket(plain, server_hostname=self.host)
            outcome = self.read_reply(secure)
            if outcome == FORGET:
                write(secure, b"MAIL " + key.encode() + b"\n")
                for verb, text in fields:
                    octets = text.encode()
                    write(secure, b"%s#%d\n%s\n" % (verb.encode(), len(octets), octets))
                if file is not None:
                    write_file(secure, *file)
                write(secure, b"SEND\n")
                outcome = self.read_reply(secure)
            secure.close()
        except (OSError, ValueError) as error:  # MicroPython tells a wrong certificate by a ValueError
            print("lost:", error)
            return LATER
        finally:
            if plain is not None:
                plain.close()
        return outcome

    def connect(self):
        """Return a connection; raises OSError."""
        address = socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM)[0]
        plain = socket.socket(address[0])
        try:
            plain.settimeout(60)
            plain.connect(address[-1])
        except OSError:
            plain.close()
            raise
        return plain

    def read_reply(self, secure):
        """Read up to a final line and return its first digit, as what to do; raises OSError."""
        line = b""
        while True:
            octet = secure.read(1)
            if not octet:
                raise OSError("the connection has ended")
            if octet != b"\n":
                # So many octets tell all that matters; the rest of a long line is passed over.
                if len(line) < 255:
                    line += octet
            elif line[3:4] == b"-":
                line = b""
            else:
                break
        self.reply = line.decode()
        for word in self.reply.split():
            if word.startswith("retry="):
                self.retry = int(word[6:])
        return {"2": FORGET, "5": GIVE_UP}.get(self.reply[:1], LATER)

    def wait(self, made):
        """Return the seconds to wait after so many tries: what was asked for, else 5 doubling up to an hour."""
        random = os.urandom(1)[0] / 255
        if self.retry:
            return self.retry * (1 + random / 4)
        return min(5 * 2 ** (made - 1), 3600) * (1 - random / 4)


def write(secure, octets):
    """Write all octets; raises OSError."""
    view = memoryview(octets)
    while view:
        view = view[secure.write(view) :]


def write_file(secure, path, content_type, name):
    """Stream a file; raises OSError."""
    size = os.stat(path)[6]
    write(secure, b"FILE#%d %s %s\n" % (size, content_type.encode(), name.encode()))
    with open(path, "rb") as file:
        while size:
            piece = file.read(min(size, PIECE))
            if not piece:
                raise OSError("the file has become shorter")
            write(secure, piece)
            size -= len(piece)
    write(secure, b"\n")


def main(arguments):
    """
    Send one message: [-t TRIES] HOST PORT CA CERTIFICATE PRIVATE_KEY KEY FROM TO SUBJECT TEXT [FILE TYPE].

    Return the exit status: 0 the gateway has it, 4 not in so many tries, 5 never.
    """
    tries = 10
    if arguments[:1] == ["-t"]:
        tries, arguments = int(arguments[1]), arguments[2:]
    host, port, ca, certificate, private_key, key, sender, recipient, subject, text = arguments[:10]
    file = None
    if arguments[10:]:
        path, content_type = arguments[10:]
        file = (path, content_type, path.split("/")[-1])
    gate = Gate(host, int(port), ca, certificate, private_key)
    fields = [("FROM", sender), ("TO", recipient), ("SUBJ", subject), ("TEXT", text)]
    outcome = gate.deliver(key, fields, file, tries)
    return 0 if outcome == FORGET else outcome


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
