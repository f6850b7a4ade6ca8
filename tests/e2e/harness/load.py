"""Many messages through many keep-alive connections at once."""

import http.client
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from harness.client import Answer, Client

CONNECTIONS = 32

T = TypeVar("T")


class Stream:
    """
    Messages that are sent until told to stop, or until the gateway is gone; `connections` at a time.

    `accepted` holds the Message-IDs of those that got a 202: what the gateway has promised. A refusal ends a
    connection, but one that says when to come back (503) does not where the stream is `patient`.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        make: Callable[[int], dict[str, object]],
        *,
        connections: int = CONNECTIONS,
        patient: bool = False,
    ) -> None:
        self._patient = patient
        self._connect = connect
        self._make = make
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._next = 0
        self.accepted: list[str] = []
        self.refused: list[object] = []
        self._threads = [threading.Thread(target=self._send) for _ in range(connections)]

    def start(self) -> "Stream":
        """Begin to send."""
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Send no more, and wait for the answers that are due."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a request got no answer"

    def _number(self) -> int:
        with self._lock:
            self._next += 1
            return self._next

    def _send(self) -> None:
        try:
            with self._connect() as client:
                while not self._stopping.is_set():
                    answer = client.submit(self._make(self._number()))
                    if answer.status == 503 and self._patient:
                        self.refused.append(answer.body)
                        self._stopping.wait(0.2)
                        continue
                    if answer.status != 202:
                        self.refused.append(answer.body)
                        return
                    self.accepted.append(str(answer["message_id"]))
        except (OSError, http.client.HTTPException):
            # The gateway is gone, as the test wants it: a request without an answer was promised nothing.
            return


def send_all(
    connect: Callable[[], Client], messages: list[T], submit: Callable[[Client, T], Answer] = Client.submit
) -> list[str]:
    """Send each message once over 32 connections; return their Message-IDs in order, each by a 202."""

    def send(share: list[T]) -> list[str]:
        with connect() as client:
            answers = [submit(client, each) for each in share]
        assert {answer.status for answer in answers} == {202}
        return [str(answer["message_id"]) for answer in answers]

    shares = [messages[start::CONNECTIONS] for start in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        sent = list(threads.map(send, shares))
    result = [""] * len(messages)
    for start, share in enumerate(sent):
        result[start::CONNECTIONS] = share
    return result
