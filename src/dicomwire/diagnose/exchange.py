"""Requests and their responses, paired by message ID (PS3.7 9.1, 10.1), in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dicomwire.diagnose.data_set import Examined, Fault
from dicomwire.diagnose.finding import Side
from dicomwire.diagnose.stream import Place
from dicomwire.dimse import status
from dicomwire.dimse.command import CCancelRq, Command, Request, Response, UnrecognizedRq
from dicomwire.dimse.status import StatusClass

KEPT: Final = 256  # exchanges of one association from its beginning; those that failed are kept beyond
KEPT_FAILED: Final = 256
OUTSTANDING: Final = 1_024  # requests without a final response, of one association

UNMATCHED: Final = 8  # responses without a request that are kept


class Unmatched(NamedTuple):
    """A response that answers no request that is open.

    Attributes:
        side: who sent it.
        asked: name of the request with its message ID, which is of another service; "" where there is none.
    """

    side: Side
    response: Response
    place: Place
    asked: str


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and what was answered.

    Attributes:
        side: who asked.
        presentation_context_id: of the request.
        request: the command.
        place: where its last byte was, with its data set.
        began: where its command set was.
        data_set: what its data set says; None while it has none.
        data_set_length: bytes of it.
        faults: what is wrong with its data set.
        pending: responses with a pending status.
        matches: those of them with a data set.
        first_response: place of the first response.
        response: the final one, or the last pending one while there is none.
        response_place: its place.
        done: the final response is there.
        cancelled: a C-CANCEL-RQ was sent for it.
    """

    side: Side
    presentation_context_id: int
    request: Request
    began: Place
    place: Place
    data_set: Examined | None = None
    data_set_length: int = 0
    faults: tuple[Fault, ...] = ()
    pending: int = 0
    matches: int = 0
    first_response: Place | None = None
    response: Response | None = None
    response_place: Place | None = None
    response_data_set: Examined | None = None
    done: bool = False
    cancelled: bool = False

    @property
    def name(self) -> str:
        """Such as `C-STORE`."""
        return self.request.name.removesuffix("-RQ")

    @property
    def service(self) -> str:
        """Name of its table of status codes."""
        return status.service_of(self.name, self.sop_class_uid, getattr(self.request, "action_type_id", 0))

    @property
    def sop_class_uid(self) -> str:
        """Affected or Requested SOP Class UID of the request."""
        for field_name in ("affected_sop_class_uid", "requested_sop_class_uid"):
            value = getattr(self.request, field_name, None)
            if isinstance(value, str):
                return value
        return ""

    @property
    def sop_instance_uid(self) -> str:
        for field_name in ("affected_sop_instance_uid", "requested_sop_instance_uid"):
            value = getattr(self.request, field_name, None)
            if isinstance(value, str):
                return value
        return ""

    @property
    def status(self) -> int | None:
        """Of the final response."""
        return self.response.status if self.response is not None and self.done else None

    @property
    def status_class(self) -> StatusClass | None:
        return None if self.status is None else status.status_class(self.service, self.status)

    @property
    def failed(self) -> bool:
        return self.status_class is StatusClass.FAILURE

    @property
    def status_words(self) -> str:
        return status.words(self.service, self.status or 0)

    def may_be_answered_by(self, response: Response) -> bool:
        """It is of the same service; what was not recognized may be answered by anything."""
        request = self.request
        return isinstance(request, UnrecognizedRq) or response.name == request.name.replace("-RQ", "-RSP")

    def count(self, name: str) -> int:
        """A number of sub-operations of the last response, 0 where it has none."""
        value = getattr(self.response, f"number_of_{name}_suboperations", None)
        return value if isinstance(value, int) else 0


@dataclass(slots=True)
class Exchanges:
    """The exchanges of one association.

    Attributes:
        kept: the first ones and those that failed, in order.
        total: how many there were.
        statuses: how often each operation ended with each status.
        orphans: responses to a request that was not seen.
        unmatched: the first of them.
    """

    kept: list[Exchange] = field(default_factory=list)
    total: int = 0
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    orphans: int = 0
    unmatched: list[Unmatched] = field(default_factory=list)
    _open: dict[tuple[Side, int], Exchange] = field(default_factory=dict)
    _failed: int = 0

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self.kept)

    @property
    def outstanding(self) -> list[Exchange]:
        """Requests without a final response, the oldest first."""
        return list(self._open.values())

    def ask(self, side: Side, context: int, command: Command, place: Place) -> Exchange | None:
        """A request; None where it is a C-CANCEL-RQ."""
        if isinstance(command, CCancelRq):
            exchange = self._open.get((side, command.message_id_being_responded_to))
            if exchange is not None:
                exchange.cancelled = True
            return None
        if not isinstance(command, Request):
            return None
        exchange = Exchange(side, context, command, place, place)
        self.total += 1
        if len(self.kept) < KEPT:
            self.kept.append(exchange)
        if len(self._open) < OUTSTANDING:
            self._open[side, command.message_id] = exchange
        return exchange

    def answer(self, side: Side, command: Response, place: Place) -> Exchange | None:
        """A response of `side`; None where the request was not seen."""
        asked = Side.REQUESTOR if side is Side.ACCEPTOR else Side.ACCEPTOR
        key = (asked, command.message_id_being_responded_to)
        exchange = self._open.get(key)
        if exchange is None or not exchange.may_be_answered_by(command):
            self.orphans += 1
            if len(self.unmatched) < UNMATCHED:
                asked_for = exchange.request.name if exchange else ""
                self.unmatched.append(Unmatched(side, command, place, asked_for))
            return None
        exchange.first_response = exchange.first_response or place
        exchange.response, exchange.response_place = command, place
        if status.status_class(exchange.service, command.status) is StatusClass.PENDING:
            exchange.pending += 1
            exchange.matches += command.data_set
            return exchange
        del self._open[key]
        exchange.done = True
        self.statuses[exchange.name, command.status] += 1
        if exchange.failed or exchange.status:
            self.keep(exchange)
        return exchange

    def keep(self, exchange: Exchange) -> None:
        """Keep an exchange in which something is wrong."""
        if exchange not in self.kept and self._failed < KEPT_FAILED:
            self._failed += 1
            self.kept.append(exchange)
