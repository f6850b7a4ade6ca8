"""Faults as they are found in a request."""

from collections.abc import Iterable

from mailgate.model.refusal import Fault, FaultCode, Refusal, RefusalCode
from mailgate.wire.headers import holds_control

MOST_FAULTS = 100
"""No more are told: whoever has as many is not helped by the rest."""

LONGEST_POINTER = 1000
"""Characters; a place whose own name is longer is told by what it is in, so that no request is echoed."""


def escape_pointer(key: str) -> str:
    """Return an object's key as a reference token of a JSON pointer (RFC 6901 section 3)."""
    return key.replace("~", "~0").replace("/", "~1")


class Faults:
    """
    Collects faults, the first ones if there are very many.

    A fault at or below a place that was found faulty before is left out, because it follows from the first.
    """

    def __init__(self, known: Iterable[Fault] = ()) -> None:
        self._faults = list(known)
        self._places = frozenset(fault.pointer for fault in self._faults)

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, pointer: str, code: FaultCode, detail: str) -> None:
        """Note a fault."""
        while len(pointer) > LONGEST_POINTER:
            pointer = pointer.rpartition("/")[0]
        if len(self._faults) < MOST_FAULTS and not self._follows(pointer):
            self._faults.append(Fault(pointer, code, detail))

    def control(self, text: str, pointer: str, what: str) -> bool:
        """Note a fault and return True if the text, which goes into a header, holds a control character."""
        if not holds_control(text):
            return False
        detail = f"{what} holds no control characters, encoded ones included"
        self.add(pointer, FaultCode.CONTROL_CHARACTER, detail)
        return True

    def refusal(self) -> Refusal:
        """Return the refusal for the faults, of which there is at least one."""
        every = self.found()
        detail = every[0].detail if len(every) == 1 else f"{len(every)} things are wrong with the message"
        return Refusal(RefusalCode.VALIDATION_FAILED, detail, every)

    def found(self) -> tuple[Fault, ...]:
        """Return the faults so far."""
        return tuple(self._faults)

    def _follows(self, pointer: str) -> bool:
        if not self._places:
            return False
        return any(pointer == place or pointer.startswith(f"{place}/") for place in self._places)
