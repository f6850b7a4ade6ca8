"""What a log may say of an error that nobody foresaw."""

from pathlib import Path
from traceback import extract_tb
from types import TracebackType


def describe_defect(error: BaseException, trace: TracebackType | None = None) -> str:
    """
    Return the error's type and the line that raised it: enough to find it, and nothing of a message.

    The error's text and the frames' values are left out, since they may hold what a client sent. `trace`
    is taken where the error itself has lost its traceback.
    """
    name = type(error).__name__
    frames = extract_tb(error.__traceback__ or trace)
    if not frames:
        return name
    last = frames[-1]
    place = "/".join(Path(last.filename).parts[-3:])
    return f"{name} at {place}:{last.lineno} in {last.name}"
