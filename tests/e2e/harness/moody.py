"""An internal server in one of several moods; plain SMTP on loopback, many connections at once."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from mailgate.demo.stage import free_port


@dataclass
class Mood:
    """
    How the server is.

    Attributes:
        most: connections that it takes at once; more are told 421.
        lose_each: each so-manieth message is taken, and the connection closed instead of the reply.
        silent: it answers nothing after EHLO.
        delay: seconds that each message takes.

    """

    most: int = 1000
    lose_each: int = 0
    silent: bool = False
    delay: float = 0.0


@dataclass
class MoodyServer:
    """
    Runs in a thread of its own.

    `received` has the Message-ID of each message, `connections` when each came and how many there were then.
    """

    mood: Mood = field(default_factory=Mood)
    port: int = field(default_factory=free_port)
    received: list[str] = field(default_factory=list)
    connections: list[tuple[float, int]] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        self._open = 0
        self._count = 0
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def start(self) -> "MoodyServer":
        """Begin to listen."""
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def stop(self) -> None:
        """End every connection."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._guarded(self._session), "127.0.0.1", self.port, limit=2**26)
        self._listening.set()
        await self._stopping.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def _guarded(
        self, session: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._open += 1
            self.connections.append((time.monotonic(), self._open))
            try:
                with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                    await session(reader, writer)
            finally:
                self._open -= 1
                writer.close()

        return run

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open > self.mood.most:
            self.refused += 1
            writer.write(b"421 4.3.2 too many connections\r\n")
            await writer.drain()
            return
        writer.write(b"220 moody ESMTP\r\n")
        while line := await reader.readline():
            command = line[:4].upper()
            if command == b"EHLO":
                writer.write(b"250-moody\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
                continue
            if self.mood.silent:
                await self._stopping.wait()
            if command == b"DATA":
                writer.write(b"354 go\r\n")
                content = await reader.readuntil(b"\r\n.\r\n")
                await asyncio.sleep(self.mood.delay)
                self._count += 1
                self.received.append(_message_id(content))
                if self.mood.lose_each and self._count % self.mood.lose_each == 0:
                    return
            elif command == b"QUIT":
                writer.write(b"221 bye\r\n")
                await writer.drain()
                return
            writer.write(b"250 2.0.0 fine\r\n")


def _message_id(content: bytes) -> str:
    for line in content.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"message-id":
            return value.strip().decode()
    raise AssertionError("a message without Message-ID")
