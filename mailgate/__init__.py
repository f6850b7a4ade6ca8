"""mailgate: outside services hand over mail with a client certificate; the internal SMTP server stays inside."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mailgate")
except PackageNotFoundError:
    # Run from a checkout that was never installed: `twistd mailgate` from the repository's root works so.
    __version__ = "0+unknown"
