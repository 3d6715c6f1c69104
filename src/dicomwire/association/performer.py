"""Requests of the peer: dispatch to services, the window, C-CANCEL, answers (PS3.7 7.5, 9.1, 10.1; D.3.3.3).

A service is called on the command. Where a data set follows it returns a sink, which gets the data set's
bytes as
views within the call that received them: none is queued and none is joined, but for requests beyond the
    window.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

import structlog

from dicomwire.association.association import Association
from dicomwire.association.options import Limits
from dicomwire.association.outbox import Outbox, Outgoing
from dicomwire.dimse import command as dimse
from dicomwire.errors import AssociationError, LocalProtocolError
from dicomwire.uids import name_of
from dicomwire.upper_layer.negotiation import AcceptedContext
from dicomwire.upper_layer.pdu import Buffer

SOP_CLASS_NOT_SUPPORTED = 0x0122  # PS3.7 C.5.6
PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.18
UNRECOGNIZED_OPERATION = 0x0211  # PS3.7 C.5.22

MOST_HELD = 64  # requests beyond the window, at which reading pauses
TURN = 16  # answers sent without waiting, after which others get their turn

log = structlog.get_logger()


class Sink(Protocol):
    """Takes the data set of one request; all three are called in the loop's thread."""

    def write(self, data: memoryview) -> None:
        """Take the next bytes; they are valid during the call only."""

    def finish(self) -> Coroutine[None, None, None] | None:
        """The data set is whole. A coroutine is run as the request's task and answers before it returns."""

    def abort(self, reason: str) -> None:
        """The association ended, or `write` failed, before the data set was whole."""


class Request:
    """An incoming request.

    Attributes:
        association: where it came from.
        context: the presentation context it came in.
        command: the message.
        cancelled: a C-CANCEL for it has come.
    """

    __slots__ = ("_cancellation", "_performer", "association", "cancelled", "command", "context", "state")

    def __init__(
        self, performer: Performer, association: Association, context: AcceptedContext, command: dimse.Request
    ) -> None:
        self.association = association
        self.context = context
        self.command = command
        self.cancelled = False
        self.state = Progress(whole=not command.data_set)
        self._performer = performer
        self._cancellation: asyncio.Future[None] | None = None

    async def cancellation(self) -> None:
        """Wait for a C-CANCEL."""
        if self.cancelled:
            return
        if self._cancellation is None:
            self._cancellation = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._cancellation)

    def cancel(self) -> None:
        """A C-CANCEL has come."""
        self.cancelled = True
        if self._cancellation is not None and not self._cancellation.done():
            self._cancellation.set_result(None)

    def respond(
        self, response: dimse.Response, data: Iterable[Buffer] | None = None, *, final: bool = True
    ) -> Outgoing | None:
        """Answer. Before the request's data set is whole the answer is kept; after the association's end,
        dropped.

        Args:
            data: pieces of a data set in the context's transfer syntax, taken as the peer takes them and not
                copied: they must not change afterwards.
            final: no other answer follows.

        Returns: the message on its way; None where it is kept or dropped.
        Raises: LocalProtocolError, when the final answer has been given.
        """
        return self._performer.answer(self, response, data, final=final)

    async def send(
        self, response: dimse.Response, data: Iterable[Buffer] | None = None, *, final: bool = False
    ) -> None:
        """Answer, and wait until the peer has taken so much that more makes sense.

        Raises: AssociationError, when nobody is there to be answered; LocalProtocolError as `respond`.
        """
        message = self._performer.answer(self, response, data, final=final)
        if message is not None:
            await message.wait()
        elif self.association.ended is not None:
            raise self.association.ended
        self.state.turns += 1
        if self.state.turns % TURN == 0:
            await asyncio.sleep(0)

    @property
    def answered(self) -> bool:
        """The final answer has been given."""
        return self.state.answered

    @property
    def duplicate(self) -> bool:
        """Another request with this Message ID is under way (PS3.7 C.5.24)."""
        return self._performer.repeats(self)

    async def send_all(
        self,
        answers: Iterable[tuple[dimse.Response, Iterable[Buffer] | None]],
        final: dimse.Response | None = None,
    ) -> None:
        """Give several answers, in one write where that is possible; waits as `send`.

        Args:
            answers: that are not final.
            final: the one after them, if it is known already.

        Raises: as `send`.
        """
        with self._performer.gathered():
            messages = [self._performer.answer(self, *answer, final=False) for answer in answers]
            if final is not None:
                messages.append(self._performer.answer(self, final, None, final=True))
        last = messages[-1] if messages else None
        if last is not None:
            await last.wait()
        elif self.association.ended is not None:
            raise self.association.ended
        if final is None:
            await asyncio.sleep(0)

    def response(self, status: int, error_comment: str | None = None) -> dimse.Response:
        """The response message that belongs to this request, with nothing but a status and a comment."""
        return dimse.response(self.command, status, error_comment)

    def refuse(self, status: int, error_comment: str) -> None:
        """Answer with a failure; Error Comment (0000,0902) has 64 characters."""
        self.respond(self.response(status, error_comment))


class Progress:
    """How far a request has come; for its performer.

    Attributes:
        whole: its data set has come.
        answered: the final answer has been given.
        sink: takes its data set.
        work: to be run once the data set is whole.
        early: answers given before that.
        held: its data set so far, while it waits for its turn; None once it has it.
        turns: answers sent.
    """

    __slots__ = ("answered", "early", "held", "sink", "turns", "whole", "work")

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole
        self.answered = False
        self.sink: Sink | None = None
        self.work: Coroutine[None, None, None] | None = None
        self.early: list[tuple[dimse.Response, Iterable[Buffer] | None]] = []
        self.held: bytearray | None = None
        self.turns = 0


Service: TypeAlias = Callable[[Request], Sink | Coroutine[None, None, None] | None]
Services: TypeAlias = Mapping[tuple[str, type[dimse.Request]], Service]


class Performer:
    """What one side of an association performs for the other.

    Attributes:
        performed: requests so far, by message.
    """

    def __init__(
        self, association: Association, outbox: Outbox, services: Services, *, window: int, limits: Limits
    ) -> None:
        self.performed: Counter[str] = Counter()
        self._association = association
        self._outbox = outbox
        self._services = services
        self._window = min(window or limits.performed, limits.performed)
        self._held_limit = limits.held_bytes
        self._running: dict[Request, None] = {}
        self._held: deque[Request] = deque()
        self._held_bytes = 0
        self._starting = False
        self._holding = False  # reading is paused for what is held
        self._receiving: Request | None = None  # whose data set comes in
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """A request has no final answer yet."""
        return bool(self._running or self._held)

    # Messages in

    def request(self, context: AcceptedContext, command: dimse.Request) -> None:
        """Take a request."""
        request = Request(self, self._association, context, command)
        if command.data_set:
            self._receiving = request
        if len(self._running) < self._window and not self._held:
            self._start(request)
        else:
            request.state.held = bytearray()
            self._held.append(request)
            self._watch_held()

    def fragment(self, data: memoryview, *, last: bool) -> None:
        """Take some of the data set of the last request."""
        request = self._receiving
        if request is None:
            return
        state = request.state
        if state.held is not None:
            state.held += data
            self._held_bytes += len(data)
            self._watch_held()
        elif state.sink is not None:
            self._write(request, state.sink, data)
        if last:
            self._receiving = None
            state.whole = True
            if state.held is None:
                self._complete(request)

    def cancel(self, message_id: int) -> None:
        """Take a C-CANCEL."""
        for request in (*self._running, *self._held):
            if request.command.message_id == message_id:
                request.cancel()

    def close(self, reason: str) -> None:
        """The association is over."""
        for request in (*self._running, *self._held):
            state = request.state
            sink, state.sink = state.sink, None
            if sink is not None:
                self._abort_sink(sink, reason)
            if state.work is not None:
                state.work.close()
                state.work = None
        self._running.clear()
        self._held.clear()
        self._receiving = None
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()
        if self._holding:
            self._holding = False
            self._association.resume()

    # Requests beyond the window

    def _watch_held(self) -> None:
        much = self._held_bytes >= self._held_limit or len(self._held) >= MOST_HELD
        if much == self._holding:
            return
        self._holding = much
        if much:
            self._association.pause()
        else:
            self._association.resume()

    def _start_held(self) -> None:
        if self._starting:
            return  # a service answered at once: the loop further up goes on
        self._starting = True
        while self._held and len(self._running) < self._window:
            request = self._held.popleft()
            state = request.state
            content, state.held = state.held or b"", None
            self._held_bytes -= len(content)
            whole, state.whole = state.whole, not request.command.data_set
            self._start(request)
            if content and state.sink is not None:
                self._write(request, state.sink, memoryview(content))
            if whole and not state.whole:
                state.whole = True
                self._complete(request)
            self._watch_held()
        self._starting = False

    # One request

    def _start(self, request: Request) -> None:
        state = request.state
        self._running[request] = None
        self.performed[request.command.name.removesuffix("-RQ")] += 1
        service = self._service(request)
        if service is None:
            return
        try:
            work = service(request)
        except Exception:
            self._fail(request)
            return
        if isinstance(work, Coroutine):
            state.work = work
        elif work is not None:
            state.sink = work
        if state.whole:
            self._complete(request)

    def _service(self, request: Request) -> Service | None:
        kind, abstract_syntax = type(request.command), request.context.abstract_syntax
        service = self._services.get((abstract_syntax, kind)) or self._services.get(("*", kind))
        if service is not None:
            return service
        if isinstance(request.command, dimse.UnrecognizedRq):
            what = f"Command Field {request.command.unrecognized_field:04X}H is no operation"
            self._refuse(request, UNRECOGNIZED_OPERATION, what)
            return None
        name = request.command.name.removesuffix("-RQ")
        if any(uid == abstract_syntax for uid, _ in self._services):
            status, comment = UNRECOGNIZED_OPERATION, f"{name} is not performed for this SOP class"
        else:
            status, comment = SOP_CLASS_NOT_SUPPORTED, f"No {name} for {name_of(abstract_syntax)}"
        self._refuse(request, status, comment)
        return None

    def _refuse(self, request: Request, status: int, comment: str) -> None:
        log.info("request refused", **self._association.facts(), message=request.command.name, reason=comment)
        request.refuse(status, comment)

    def _write(self, request: Request, sink: Sink, data: memoryview) -> None:
        try:
            sink.write(data)
        except Exception:
            self._fail(request)

    def _complete(self, request: Request) -> None:
        """The request and its data set are whole: go on to the answer."""
        state = request.state
        sink, state.sink = state.sink, None
        if sink is not None:
            try:
                state.work = sink.finish()
            except Exception:
                self._fail(request)
        early, state.early = state.early, []
        for response, data in early:
            self._put(request, response, data)
        if early and state.answered:
            self._finished(request)
        work, state.work = state.work, None
        if work is not None:
            task = asyncio.get_running_loop().create_task(self._perform(request, work))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: work.close())  # cancelled before it began

    async def _perform(self, request: Request, work: Coroutine[None, None, None]) -> None:
        association = self._association
        try:
            await work
        except AssociationError as error:
            if association.ended is not None:
                return  # a service that went on sending learns it this way
            self._fail(request, error)
        except Exception as error:
            self._fail(request, error)
        if not request.state.answered and association.ended is None:
            log.error("service gave no final answer", **association.facts(), message=request.command.name)
            self._answer_failure(request)

    def _fail(self, request: Request, error: BaseException | None = None) -> None:
        """A service raised: log it with its traceback and answer 0110H."""
        log.error(
            "service failed",
            **self._association.facts(),
            message=request.command.name,
            message_id=request.command.message_id,
            context=request.context.presentation_context_id,
            exc_info=error or True,
        )
        sink, request.state.sink = request.state.sink, None
        if sink is not None:
            self._abort_sink(sink, "processing failed")
        self._answer_failure(request)

    def _answer_failure(self, request: Request) -> None:
        if not request.state.answered:
            request.refuse(PROCESSING_FAILURE, "Processing failed; the node's log says why")

    def _abort_sink(self, sink: Sink, reason: str) -> None:
        try:
            sink.abort(reason)
        except Exception:
            log.exception("service failed", **self._association.facts())

    def repeats(self, request: Request) -> bool:
        """Whether a request has the Message ID of another one that is under way."""
        number = request.command.message_id
        return any(other.command.message_id == number for other in self._running if other is not request)

    # Answers

    def gathered(self) -> AbstractContextManager[None]:
        """What is answered within is written in one go."""
        return self._outbox.gathered()

    def answer(
        self, request: Request, response: dimse.Response, data: Iterable[Buffer] | None, *, final: bool
    ) -> Outgoing | None:
        """Send an answer; None where it is kept until the request is whole, or dropped after the end."""
        state = request.state
        if state.answered:
            raise LocalProtocolError(
                f"{request.command.name} {request.command.message_id} is answered already"
            )
        state.answered = final
        if self._association.ended is not None:
            return None
        if not state.whole:
            state.early.append((response, data))
            return None
        message = self._put(request, response, data)
        if final:
            self._finished(request)
        return message

    def _put(self, request: Request, response: dimse.Response, data: Iterable[Buffer] | None) -> Outgoing:
        return self._outbox.put(request.context.presentation_context_id, response, data)

    def _finished(self, request: Request) -> None:
        self._running.pop(request, None)
        if self._held:
            self._start_held()
        self._association.settled()
