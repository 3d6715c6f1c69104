"""One end of the socket between an archive's two sides; a loop serves it, or whoever waits for an answer."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections.abc import Callable
from typing import Final

from dicomwire.archive.dialogue import RECEIVE, Message, Messages, encode

_LOOK: Final = 0.1  # seconds between two looks at who serves the socket


class Line:
    """Messages both ways. They are taken in the loop's thread, or where somebody waits without a loop."""

    def __init__(
        self, connected: socket.socket, take: Callable[[Message], None], on_end: Callable[[], None]
    ) -> None:
        """on_end: called once, when the other side is gone."""
        self._socket = connected
        self._socket.setblocking(False)
        self._take = take
        self._on_end = on_end
        self._loop: asyncio.AbstractEventLoop | None = None
        self._messages = Messages()
        self._receiving = threading.Lock()
        self._sending = threading.Lock()
        self._unsent = b""
        self._stuck = False  # the loop looks whether more can be sent
        self._ended = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have a loop serve it from now on; called in its thread, or before it runs."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket.fileno())
        self._loop = loop
        if not self._ended:
            loop.add_reader(self._socket.fileno(), self._receive)

    def send(self, message: Message) -> None:
        """Send a message at once, so that the other side has it while this one goes on; any thread."""
        content = encode(message)
        with self._sending:
            self._unsent += content
        if (loop := self._serving()) is None or is_current(loop):
            self._flush()
        else:
            loop.call_soon_threadsafe(self._flush)

    def wait(self, event: threading.Event) -> None:
        """Wait until an event that an answer sets, or the end of the line; any thread."""
        while not event.is_set() and not self._ended:
            loop = self._serving()
            if loop is not None and not is_current(loop):
                event.wait(_LOOK)
                continue
            self._flush()
            waiting = select.poll()
            waiting.register(self._socket, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            if waiting.poll(_LOOK * 1000):
                self._receive()

    def _serving(self) -> asyncio.AbstractEventLoop | None:
        """The loop, if it runs."""
        return self._loop if self._loop is not None and self._loop.is_running() else None

    def _flush(self) -> None:
        """Send what waits; what the socket does not take is sent when it does."""
        with self._sending:
            if not self._unsent or self._ended:
                return
            try:
                sent = self._socket.send(self._unsent)
            except BlockingIOError:
                sent = 0
            except OSError:  # it is gone, which receiving tells
                sent = len(self._unsent)
            self._unsent = self._unsent[sent:]
            stuck = bool(self._unsent)
        if stuck != self._stuck and (loop := self._serving()) is not None and is_current(loop):
            self._stuck = stuck
            if stuck:
                loop.add_writer(self._socket.fileno(), self._flush)
            else:
                loop.remove_writer(self._socket.fileno())

    def _receive(self) -> None:
        with self._receiving:
            if self._ended:
                return
            try:
                data = self._socket.recv(RECEIVE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._end()
            messages = list(self._messages.feed(data))
        for message in messages:
            self._take(message)
        if not data:
            self._on_end()

    def _end(self) -> None:
        """Give up the socket, where nobody looks at it."""
        with self._sending:
            self._ended = True
        loop, descriptor = self._loop, self._socket.fileno()

        def give_up() -> None:
            if loop is not None and not loop.is_closed():
                loop.remove_reader(descriptor)
                loop.remove_writer(descriptor)
            self._socket.close()

        if (serving := self._serving()) is None or is_current(serving):
            give_up()
        else:
            serving.call_soon_threadsafe(give_up)


def is_current(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this is the thread in which a loop runs."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
