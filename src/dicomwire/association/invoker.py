"""Operations that we invoke: message IDs, the window, answers, deadlines (PS3.7 7.5, D.3.3.3)."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from dicomwire.association.outbox import Outbox, Outgoing
from dicomwire.dimse import command as dimse
from dicomwire.errors import AssociationError, LocalProtocolError
from dicomwire.upper_layer.pdu import Buffer

PENDING = (0xFF00, 0xFF01)  # PS3.7 C.1.1, PS3.4 C.4.1.1.4
CANCELLABLE = (dimse.CFindRq, dimse.CGetRq, dimse.CMoveRq)
MANY = 64  # answers that nobody has taken yet, at which reading pauses
FEW = 16  # and goes on


@dataclass(frozen=True, slots=True)
class Response:
    """An answer to a request of ours.

    Attributes:
        command: the response message.
        data: its data set, in the context's transfer syntax; None where it had none.
    """

    command: dimse.Response
    data: bytes | None = None

    @property
    def status(self) -> int:
        """Status (0000,0900)."""
        return self.command.status

    @property
    def pending(self) -> bool:
        """More answers follow."""
        return self.command.status in PENDING


class Prepared(NamedTuple):
    """A request of ours that is ready to go out.

    Attributes:
        message: its beginning is at hand.
    """

    context_id: int
    command: dimse.Request
    message: Outgoing


class Outstanding:
    """A request of ours without its final answer."""

    def __init__(self, context_id: int, command: dimse.Request) -> None:
        self.context_id = context_id
        self.command = command
        self.message: Outgoing | None = None
        self.since = inf  # when the answer that is due began to be waited for
        self.abandoned = False  # nobody waits for the answers any more
        self.concluded = False
        self.holds_reading = False
        self.error: AssociationError | None = None
        self.answers: deque[Response] = deque()
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> Response:
        """The next answer.

        Raises: AssociationError, when the association ends before.
        """
        while not self.answers:
            if self.error is not None:
                raise self.error
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self.answers.popleft()

    def wake(self) -> None:
        """Let `next` look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Reading:
    """What an invoker does to the flow of incoming bytes."""

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self.pause = pause
        self.resume = resume


class Invoker:
    """The requests that one side of an association has outstanding.

    Attributes:
        invoked: requests so far, by message.
        outstanding: by message ID.
    """

    def __init__(
        self,
        outbox: Outbox,
        reading: Reading,
        *,
        window: int,
        response_limit: int,
        abort: Callable[[str], None],
    ) -> None:
        self.invoked: Counter[str] = Counter()
        self.outstanding: dict[int, Outstanding] = {}
        self._outbox = outbox
        self._reading = reading
        self._free = window
        self._turns: deque[tuple[Callable[[], Prepared], asyncio.Future[Outstanding]]] = deque()
        self._response_limit = response_limit
        self._abort = abort
        self._last_message_id = 0
        self._receiving: tuple[Outstanding, dimse.Response] | None = None
        self._collected = bytearray()
        self._over: AssociationError | None = None

    def next_message_id(self) -> int:
        """A message ID that no outstanding request has."""
        while True:
            self._last_message_id = self._last_message_id % 0xFFFF + 1
            if self._last_message_id not in self.outstanding:
                return self._last_message_id

    def prepare(self, context_id: int, command: dimse.Request, data: Iterable[Buffer] | None) -> Prepared:
        """A request with its first bytes at hand. Raises: what the pieces of its data set raise."""
        prepared = self._prepared(context_id, command, data)
        prepared.message.prime()
        return prepared

    async def request(
        self, context_id: int, command: dimse.Request, data: Iterable[Buffer] | None
    ) -> Response:
        """Invoke and wait for the final answer; pending ones are dropped."""
        return await self.invoke(lambda: self._prepared(context_id, command, data))

    async def invoke(self, made: Callable[[], Prepared]) -> Response:
        """The same with what `made` gives when its turn comes.

        Behind an answer that makes room it is called, and what it gives goes out, before anything else
        happens.
        """
        outstanding = await self._invoke(made)
        try:
            while True:
                response = await outstanding.next()
                if not response.pending:
                    return response
        finally:
            self._leave(outstanding)

    async def requests(
        self, context_id: int, command: dimse.Request, data: Iterable[Buffer] | None
    ) -> AsyncGenerator[Response, None]:
        """Invoke and yield every answer, the final one last; leaving early cancels the operation."""
        outstanding = await self._invoke(lambda: self._prepared(context_id, command, data))
        try:
            while True:
                response = await outstanding.next()
                if outstanding.holds_reading and len(outstanding.answers) <= FEW:
                    outstanding.holds_reading = False
                    self._reading.resume()
                yield response
                if not response.pending:
                    return
        finally:
            self._leave(outstanding)

    def cancel(self, message_id: int) -> None:
        """Send C-CANCEL for an operation; its final answer comes all the same (PS3.7 9.3.2.3)."""
        outstanding = self.outstanding.get(message_id)
        if outstanding is not None and self._over is None:
            self._outbox.put(outstanding.context_id, dimse.CCancelRq(message_id))

    def answered(self, context_id: int, command: dimse.Response, now: float) -> bool:
        """Take a response; whether it belongs to a request of ours."""
        outstanding = self.outstanding.get(command.message_id_being_responded_to)
        if (
            outstanding is None
            or outstanding.context_id != context_id
            or command.command_field != outstanding.command.command_field | 0x8000
        ):
            return False
        outstanding.since = now
        if command.data_set:
            self._receiving = (outstanding, command)
        else:
            self._deliver(outstanding, Response(command))
        return True

    def fragment(self, data: memoryview, *, last: bool) -> None:
        """Take some of the data set of the last response."""
        if self._receiving is None:
            return
        outstanding, command = self._receiving
        if len(self._collected) + len(data) > self._response_limit:
            self._abort(f"{command.name} with a data set of more than {self._response_limit} bytes")
            return
        self._collected += data
        if last:
            self._receiving = None
            content = bytes(self._collected)
            self._collected = bytearray()
            self._deliver(outstanding, Response(command, content))

    def due(self, timeout: float) -> tuple[float, str]:
        """When the first answer is late, and to what."""
        if not self.outstanding:
            return inf, ""
        first = min(self.outstanding.values(), key=lambda outstanding: outstanding.since)
        return first.since + timeout, f"answer to {first.command.name} {first.command.message_id}"

    def close(self, error: AssociationError) -> None:
        """The association is over: everything outstanding fails."""
        self._over = error
        for outstanding in list(self.outstanding.values()):
            outstanding.error = error
            outstanding.wake()
            self._conclude(outstanding)

    def _prepared(self, context_id: int, command: dimse.Request, data: Iterable[Buffer] | None) -> Prepared:
        if not command.message_id:
            command = replace(command, message_id=self.next_message_id())
        return Prepared(context_id, command, self._outbox.message(context_id, command, data))

    async def _invoke(self, made: Callable[[], Prepared]) -> Outstanding:
        outstanding = await self._turn(made)
        message = outstanding.message
        assert message is not None
        try:
            await message.wait()
        except asyncio.CancelledError:
            self._give_up(outstanding, message)
            raise
        except BaseException:
            self._conclude(outstanding)
            raise
        if outstanding.since == inf:
            outstanding.since = asyncio.get_running_loop().time()
        return outstanding

    async def _turn(self, made: Callable[[], Prepared]) -> Outstanding:
        """Wait for room in the window and begin."""
        if self._free:
            self._free -= 1
            try:
                return self._begin(made)
            except BaseException:
                self._next()
                raise
        begun: asyncio.Future[Outstanding] = asyncio.get_running_loop().create_future()
        self._turns.append((made, begun))
        try:
            return await begun
        except asyncio.CancelledError:
            if begun.done() and not begun.cancelled() and begun.exception() is None:
                outstanding = begun.result()
                assert outstanding.message is not None
                self._give_up(outstanding, outstanding.message)
            raise

    def _begin(self, made: Callable[[], Prepared]) -> Outstanding:
        if self._over is not None:
            raise self._over
        context_id, command, message = made()
        if command.message_id in self.outstanding:
            raise LocalProtocolError(f"message ID {command.message_id} is in use (PS3.7 9.1.1.1.1)")
        outstanding = Outstanding(context_id, command)
        self.outstanding[command.message_id] = outstanding
        self.invoked[command.name.removesuffix("-RQ")] += 1
        outstanding.message = self._outbox.send(message)
        return outstanding

    def _next(self) -> None:
        """There is room for one more."""
        while self._turns:
            made, begun = self._turns.popleft()
            if begun.done():
                continue  # nobody waits for it any more
            try:
                begun.set_result(self._begin(made))
            except Exception as error:  # noqa: BLE001: whoever waits gets it
                begun.set_exception(error)
            else:
                return
        self._free += 1

    def _give_up(self, outstanding: Outstanding, message: Outgoing) -> None:
        """Whoever asked does not wait any more."""
        if message.sent:
            self._leave(outstanding)
        elif self._outbox.withdraw(message):
            self._conclude(outstanding)
        else:
            self._abort(f"{outstanding.command.name} was given up in the middle of its data set")

    def _deliver(self, outstanding: Outstanding, response: Response) -> None:
        if not response.pending:
            self._conclude(outstanding)
        if outstanding.abandoned:
            return
        outstanding.answers.append(response)
        if len(outstanding.answers) >= MANY and not outstanding.holds_reading:
            outstanding.holds_reading = True
            self._reading.pause()
        outstanding.wake()

    def _conclude(self, outstanding: Outstanding) -> None:
        if not outstanding.concluded:
            outstanding.concluded = True
            del self.outstanding[outstanding.command.message_id]
            self._next()

    def _leave(self, outstanding: Outstanding) -> None:
        """Nobody takes further answers."""
        outstanding.abandoned = True
        outstanding.answers.clear()
        if outstanding.holds_reading:
            outstanding.holds_reading = False
            self._reading.resume()
        if not outstanding.concluded and isinstance(outstanding.command, CANCELLABLE):
            with suppress(LocalProtocolError):
                self.cancel(outstanding.command.message_id)
