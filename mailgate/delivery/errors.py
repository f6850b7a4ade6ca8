"""What delivery can't do, in sentences."""

from OpenSSL import SSL
from twisted.internet import error
from twisted.python.failure import Failure


class DeliveryError(Exception):
    """Delivery can't be set up; the text is one sentence that names the file or the setting."""


class UpstreamError(Exception):
    """
    An upstream can't be used now, whatever the message.

    The text is one sentence without its full stop, fit for logs: no passwords, nothing unprintable.
    """


def describe(failure: Failure) -> str:
    """Return the reason of a failed or lost connection as an UpstreamError would give it."""
    reason = failure.value
    if isinstance(reason, UpstreamError):
        return str(reason)
    if isinstance(reason, SSL.Error):
        details = reason.args[0] if reason.args else ()
        texts = [str(part[-1]) for part in details] if isinstance(details, list) else [str(details or reason)]
        return "TLS failed: " + (", ".join(text for text in texts if text) or "no reason given")
    if isinstance(reason, error.ConnectionDone):
        return "the server closed the connection"
    if isinstance(reason, error.ConnectionLost):
        return "the connection broke"
    if isinstance(reason, error.TimeoutError):
        return "no connection in time"
    text = " ".join(str(reason).split()).rstrip(".")
    return text or type(reason).__name__
