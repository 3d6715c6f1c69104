"""Messages on their way out: never interleaved, no faster than the peer takes them (PS3.8 E.1)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain

from dicomwire.association.connection import Connection
from dicomwire.dimse.codec import encode
from dicomwire.dimse.command import Command
from dicomwire.dimse.message import Run, runs
from dicomwire.errors import AssociationError, LocalProtocolError
from dicomwire.upper_layer.pdu import Buffer, PresentationDataValue

BATCH = 524_288  # bytes handed to the transport before other connections get their turn


class Outgoing:
    """A message to be sent.

    Attributes:
        sent: it has been handed to the transport as a whole.
        begun: some of it has.
        error: why it never will be.
    """

    __slots__ = ("begun", "error", "sent", "values", "waiter")

    def __init__(self, fragments: Iterator[PresentationDataValue | Run]) -> None:
        self.values = fragments
        self.begun = False
        self.sent = False
        self.error: Exception | None = None
        self.waiter: asyncio.Future[None] | None = None

    def prime(self) -> None:
        """Have what goes out first at hand. Raises: what the pieces of its data set raise."""
        taken, left = [], BATCH
        for value in self.values:
            taken.append(value)
            left -= len(value.data)
            if left <= 0:
                break
        self.values = chain(taken, self.values)

    async def wait(self) -> None:
        """Wait until the message is sent.

        Raises: what kept it from being sent.
        """
        if not self.sent and self.error is None:
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        if self.error is not None:
            raise self.error

    def settle(self, error: Exception | None = None) -> None:
        """Say how it ended."""
        self.sent = error is None
        self.error = error
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Outbox:
    """The messages of one association that wait to be sent.

    Attributes:
        maximum_length: as the peer announced it.
    """

    def __init__(
        self,
        connection: Connection,
        maximum_length: int,
        *,
        failed: Callable[[Exception], None],
        empty: Callable[[], None],
    ) -> None:
        """Begin.

        Args:
            failed: called when a message broke off in its middle, for nothing can follow it.
            empty: called when everything has been sent.
        """
        self.maximum_length = maximum_length
        self._failed = failed
        self._empty = empty
        self._connection = connection
        self._waiting: deque[Outgoing] = deque()
        self._pumping = False
        self._last: tuple[Command | None, bytes] = None, b""
        self._over: AssociationError | None = None

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def message(self, context_id: int, command: Command, data: Iterable[Buffer] | None) -> Outgoing:
        """A message, not sent yet.

        Args:
            data: pieces of the data set, taken as the peer takes them; they have to stay as they are until
                then.
        """
        if command.data_set != (data is not None):
            command = replace(command, data_set=data is not None)
        if command is not self._last[0]:  # the answers to a query begin with the same one
            self._last = command, encode(command)
        return Outgoing(runs(context_id, self._last[1], data, self.maximum_length))

    def put(self, context_id: int, command: Command, data: Iterable[Buffer] | None = None) -> Outgoing:
        """Send a message behind those that wait; arguments are those of `message`."""
        return self.send(self.message(context_id, command, data))

    def send(self, message: Outgoing) -> Outgoing:
        """Send a message behind those that wait."""
        if self._over is not None:
            message.settle(self._over)
            return message
        self._waiting.append(message)
        self.pump()
        return message

    def withdraw(self, message: Outgoing) -> bool:
        """Take back a message of which nothing has been sent; whether that was possible."""
        if message.begun or message not in self._waiting:
            return False
        self._waiting.remove(message)
        return True

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """What is put within is sent together at its end."""
        if self._pumping:
            yield
            return
        self._pumping = True
        try:
            yield
        finally:
            self._pumping = False
            self.pump()

    def pump(self) -> None:
        """Send as much as the transport takes."""
        if self._pumping:
            return
        self._pumping = True
        try:
            self._send()
        finally:
            self._pumping = False

    def close(self, error: AssociationError) -> None:
        """Nothing more can be sent."""
        self._over = error
        waiting, self._waiting = self._waiting, deque()
        for message in waiting:
            message.settle(error)

    def _send(self) -> None:
        connection = self._connection
        if connection.core.over:
            return  # the event that says so comes with this read, and closes this outbox
        send_value, send_values = connection.core.send_value, connection.core.send_values
        now = asyncio.get_running_loop().time()
        left = BATCH
        while self._waiting and connection.writable:
            message = self._waiting[0]
            message.begun = True
            try:
                for value in message.values:
                    if isinstance(value, Run):
                        send_values(*value, now)
                    else:
                        send_value(value, now)
                    left -= len(value.data)
                    if left <= 0:
                        break
                else:
                    self._waiting.popleft()
                    message.settle()
                    continue
            except Exception as error:
                self._break_off(message, error)
                return
            connection.flush()
            if connection.writable:
                asyncio.get_running_loop().call_soon(self.pump)
                return
        connection.flush()
        if not self._waiting:
            self._empty()

    def _break_off(self, message: Outgoing, error: Exception) -> None:
        if self._waiting and self._waiting[0] is message:
            self._waiting.popleft()
        message.settle(error)
        if not isinstance(error, LocalProtocolError) or not self._connection.closing:
            self._failed(error)
