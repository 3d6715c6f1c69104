"""One instance made ready for an association, and what became of it (PS3.4 B.2.2, PS3.7 9.1.1; PS3.5 10.1).

What was accepted as stored goes out bit for bit; what is stored uncompressed is converted where it must be,
and what lies in the archive is transcoded, without loss. What cannot be sent so is not sent; nothing is left
out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Final

from dicomwire.association.association import Association
from dicomwire.association.invoker import Prepared
from dicomwire.dicom.convert import to_transfer_syntax
from dicomwire.dimse import status
from dicomwire.dimse.command import CStoreRq
from dicomwire.dimse.status import StatusClass
from dicomwire.errors import DicomwireError
from dicomwire.services.instances import Instance
from dicomwire.uids import TRANSFER_SYNTAXES, UNCOMPRESSED_TRANSFER_SYNTAXES, name_of
from dicomwire.upper_layer.negotiation import AcceptedContext
from dicomwire.upper_layer.pdu import Buffer

CONVERTIBLE: Final = (
    UNCOMPRESSED_TRANSFER_SYNTAXES  # in the order of preference where the stored one is not taken
)
_WALKED_AT_ONCE: Final = 1 << 20  # bytes of a data set whose headers are walked in the loop's thread
DEFLATED: Final = frozenset(uid for uid, syntax in TRANSFER_SYNTAXES.items() if syntax.deflated)


class Outcome(Enum):
    """How a delivery ended."""

    STORED = "stored"
    WARNING = "stored with a warning"
    REFUSED = "refused"
    NO_CONTEXT = "not accepted"
    FAILED = "failed"


_OUTCOMES: Final = {StatusClass.SUCCESS: Outcome.STORED, StatusClass.WARNING: Outcome.WARNING}


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one instance.

    Attributes:
        reason: words why it was not simply stored; "" where it was.
        status: of the C-STORE-RSP; None where there was none.
        transfer_syntax_uid: in which it was sent; "" where it was not.
        error: what came in place of an answer.
    """

    instance: Instance
    outcome: Outcome
    reason: str = ""
    status: int | None = None
    transfer_syntax_uid: str = ""
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class MoveOriginator:
    """Whose C-MOVE is the reason for a C-STORE (PS3.7 Table 9.3-1)."""

    ae_title: str
    message_id: int


class NotBegun(DicomwireError):
    """An instance's turn came, and it was not to be sent any more."""


class Parcel:
    """An instance ready to be sent, or why it is not.

    Attributes:
        instance: what is sent.
    """

    __slots__ = ("_content", "_failure", "_prepared", "_target", "instance")

    def __init__(
        self,
        instance: Instance,
        target: str,
        content: AsyncExitStack,
        prepared: Prepared | None,
        failure: Delivery | None = None,
    ) -> None:
        self.instance = instance
        self._target = target
        self._content = content
        self._prepared = prepared
        self._failure = failure

    async def deliver(
        self, association: Association, goes_on: Callable[[], bool] = lambda: True
    ) -> Delivery | None:
        """Send it and wait for its answer.

        Args:
            goes_on: asked when its turn comes.

        Returns: None where nothing of it was sent, for it was not to be any more or the association over.
        """
        prepared, begun = self._prepared, False
        if prepared is None:
            return self._failure

        def begin() -> Prepared:
            nonlocal begun
            if not goes_on():
                raise NotBegun("not sent any more")
            begun = True
            return prepared

        try:
            async with self._content:
                response = await association.invoke(begin)
        except (DicomwireError, OSError) as error:
            return _failed(self.instance, self._target, error) if begun else None
        code = response.status
        outcome = _OUTCOMES.get(status.status_class(status.STORE, code), Outcome.REFUSED)
        words = (status.words(status.STORE, code), response.command.error_comment)
        reason = "" if outcome is Outcome.STORED else ": ".join(word for word in words if word)
        return Delivery(self.instance, outcome, reason, code, self._target)


async def pack(
    routes: Routes, instance: Instance, priority: int, move_originator: MoveOriginator | None
) -> Parcel:
    """Make an instance ready for one association: transcoded where it has to be, its first bytes at hand."""
    content = AsyncExitStack()
    context = routes.context(instance)
    if context is None:
        failure = Delivery(instance, Outcome.NO_CONTEXT, routes.missing(instance))
        return Parcel(instance, "", content, None, failure)
    command = CStoreRq(
        0,
        instance.sop_class_uid,
        instance.sop_instance_uid,
        priority,
        move_originator.ae_title if move_originator is not None else None,
        move_originator.message_id if move_originator is not None else None,
    )
    target = context.transfer_syntax
    try:
        pieces = await content.enter_async_context(_content(instance, target))
        prepared = routes.association.prepare(context.presentation_context_id, command, pieces)
    except (DicomwireError, OSError) as error:
        await content.aclose()
        return Parcel(instance, target, content, None, _failed(instance, target, error))
    except BaseException:
        await content.aclose()
        raise
    return Parcel(instance, target, content, prepared)


def _failed(instance: Instance, target: str, error: DicomwireError | OSError) -> Delivery:
    return Delivery(instance, Outcome.FAILED, str(error), transfer_syntax_uid=target, error=error)


@asynccontextmanager
async def _content(instance: Instance, target: str) -> AsyncIterator[Iterator[Buffer]]:
    """The data set in a transfer syntax, in pieces."""
    source = instance.transfer_syntax_uid
    if instance.recoding is not None and source != target and not (_plain(source) and _plain(target)):
        async with instance.recoding.open(target) as transcoded:
            yield transcoded.slices()
        return
    with instance.open() as data_set:
        if source != target:
            yield await _converted(data_set.view, source, target)
        elif instance.length & 1 and target in DEFLATED:
            # DCMTK 3.6.7 aborts on an odd fragment (pydicom's image_dfl.dcm); inflating ignores a NUL.
            yield chain(data_set.pieces(), (b"\0",))
        else:
            yield data_set.pieces()


async def _converted(data: memoryview, source: str, target: str) -> Iterator[Buffer]:
    """A data set in another uncompressed transfer syntax; the headers of a large one are walked in a thread.

    Raises: DataSetError, when it cannot be in that.
    """
    pieces: Iterator[Buffer] = map(memoryview, to_transfer_syntax(data, source, target))
    if len(data) <= _WALKED_AT_ONCE:
        return pieces
    first = await asyncio.to_thread(next, pieces, memoryview(b""))
    return chain((first,), pieces)


def _plain(transfer_syntax_uid: str) -> bool:
    """Whether it needs no codec."""
    syntax = TRANSFER_SYNTAXES.get(transfer_syntax_uid)
    return syntax is not None and not syntax.encapsulated


def choose(contexts: Iterable[AcceptedContext], transfer_syntax_uid: str) -> AcceptedContext | None:
    """The context to send an instance in: its stored syntax, else an uncompressed one if it is uncompressed.

    Args:
        contexts: those of the instance's SOP class that may be used.
        transfer_syntax_uid: in which the instance is stored.
    """
    by_syntax = _by_syntax(contexts)
    if transfer_syntax_uid in by_syntax:
        return by_syntax[transfer_syntax_uid]
    if not _plain(transfer_syntax_uid):
        return None
    return next((by_syntax[target] for target in CONVERTIBLE if target in by_syntax), None)


def _by_syntax(contexts: Iterable[AcceptedContext]) -> dict[str, AcceptedContext]:
    """The first context of each transfer syntax."""
    by_syntax: dict[str, AcceptedContext] = {}
    for context in contexts:
        by_syntax.setdefault(context.transfer_syntax, context)
    return by_syntax


class Routes:
    """In which presentation context each kind of instance goes over one association.

    Attributes:
        association: the one.
    """

    def __init__(self, association: Association) -> None:
        self.association = association
        self._by_class: dict[str, list[AcceptedContext]] = {}
        self._known: dict[tuple[str, str], AcceptedContext | None] = {}
        for context in association.contexts.values():
            # The Storage SCU is us: the association's requestor, or its acceptor in a C-GET (PS3.7 D.3.3.4).
            if context.scu_role if association.requestor else context.scp_role:
                self._by_class.setdefault(context.abstract_syntax, []).append(context)

    def context(self, instance: Instance) -> AcceptedContext | None:
        """Where to send an instance, None where nothing was accepted that it can be sent in."""
        kind = (instance.sop_class_uid, instance.transfer_syntax_uid)
        if kind not in self._known:
            self._known[kind] = choose(self._by_class.get(kind[0], ()), kind[1])
        context = self._known[kind]
        if context is None and instance.recoding is not None:
            by_syntax = _by_syntax(self._by_class.get(kind[0], ()))
            target = instance.recoding.target(by_syntax)
            context = by_syntax[target] if target is not None else None
        return context

    def missing(self, instance: Instance) -> str:
        """Why there is no context for an instance."""
        taken = [context.transfer_syntax for context in self._by_class.get(instance.sop_class_uid, ())]
        name = name_of(instance.sop_class_uid)
        if not taken:
            return f"the peer does not take {name}"
        syntaxes = ", ".join(name_of(uid) for uid in dict.fromkeys(taken))
        stored = name_of(instance.transfer_syntax_uid)
        return f"stored as {stored}; the peer takes {name} only as {syntaxes}"
