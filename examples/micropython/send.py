"""
Sends one message, with a file if there is one, as a device would.

Exit status: 0 the gateway has it, 4 it couldn't be handed over in so many tries, 5 it never will be, 64 the
arguments can't be used.
"""

import sys

from mailgate import FORGET, GIVE_UP, Gate, Message, UnfitError, complain

BAD_USAGE = 64
USAGE = (
    "usage: send.py [-t TRIES] HOST PORT CA CERTIFICATE PRIVATE_KEY "
    "IDEMPOTENCY_KEY FROM TO SUBJECT TEXT [FILE TYPE]"
)


def positive(text):
    """Return the number that a text is, or 0 where it is none."""
    return int(text) if text and all(each in "0123456789" for each in text) else 0


def main(arguments):
    """Send the message that the arguments tell; return the exit status."""
    tries = "10"
    if arguments[:1] == ["-t"]:
        tries, arguments = "".join(arguments[1:2]), arguments[2:]
    if not positive(tries) or len(arguments) not in (10, 12) or not positive(arguments[1]):
        complain(USAGE)
        return BAD_USAGE
    host, port, ca, certificate, private_key, key, sender, recipient, subject, text = arguments[:10]
    fields = [("FROM", sender), ("TO", recipient), ("SUBJ", subject), ("TEXT", text)]
    file = None
    if arguments[10:]:
        path, content_type = arguments[10:]
        file = (path, content_type, path.split("/")[-1])
    try:
        message = Message(key, fields, file)
        outcome = Gate(host, positive(port), ca, certificate, private_key).deliver(message, positive(tries))
    except UnfitError as error:
        complain(error)
        return GIVE_UP
    except ValueError as error:
        complain(error)
        return BAD_USAGE
    return 0 if outcome == FORGET else outcome


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
