"""A memory of A-ASSOCIATE requests and answers: most peers ask the same thing each time (PS3.8 9.3.2, 9.3.3).

What is remembered follows from the bytes behind the AE titles and from the policy alone; whether a peer is
let in is decided each time anew. A request with credentials (item 58H), or with anything wrong in it, is
never remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from dicomwire.errors import DecodeError
from dicomwire.upper_layer import codec
from dicomwire.upper_layer.items import UserIdentityRq
from dicomwire.upper_layer.negotiation import AcceptorPolicy, Negotiation, negotiate, user_item
from dicomwire.upper_layer.pdu import AssociateRq, Buffer, Pdu, PduType

ITEMS = 68  # byte of an A-ASSOCIATE-RQ's variable field at which its items begin (PS3.8 Table 9-11)
LONGEST_KEY = 32_768  # bytes; a request of 128 contexts with 5 transfer syntaxes has 25,000
MOST_BYTES = 2 << 20  # of all keys; what is kept for one takes about six times as much


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request comes to.

    Attributes:
        negotiation: the AE titles in its answer are those of whoever asked first.
        encoded: the answer's PDU, likewise.
        refused: words for each context that is not accepted.
    """

    negotiation: Negotiation
    encoded: bytes
    refused: tuple[str, ...]


def answer(negotiation: Negotiation) -> Answer:
    """A negotiation with what follows from it."""
    refused = tuple(context.words for context in negotiation.contexts if not context.accepted)
    return Answer(negotiation, codec.encode(negotiation.answer), refused)


K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The values used last, bounded in number and in bytes of their keys."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._bytes = 0
        self._values: OrderedDict[K, tuple[int, V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value of a key, if it is still there."""
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[1]

    def keep(self, key: K, value: V, length: int) -> None:
        """Keep the value of a key that is not there; `length` is what counts in bytes."""
        self._values[key] = (length, value)
        self._bytes += length
        while self._values and (len(self._values) > self._size or self._bytes > MOST_BYTES):
            _, (freed, _) = self._values.popitem(last=False)
            self._bytes -= freed


class Memo:
    """Requests read and answers given, the most recent ones of each."""

    def __init__(self, size: int) -> None:
        self._requests: Recent[bytes, AssociateRq] = Recent(size)
        # The policy is kept with what was negotiated by it, so that no other one gets its id.
        self._answers: Recent[tuple[int, bytes], tuple[AcceptorPolicy, Answer]] = Recent(size)

    def decode(self, type: int, body: Buffer, violations: list[DecodeError]) -> Pdu:
        """What `codec.decode` gives, without reading items again that were read before."""
        if type != PduType.A_ASSOCIATE_RQ or not ITEMS < len(body) <= LONGEST_KEY:
            return codec.decode(type, body, violations)
        key = bytes(body[ITEMS:])
        known = self._requests.get(key)
        if known is not None:
            return codec.decode_titles(body, known)
        request = codec.decode(type, body, violations)
        if isinstance(request, AssociateRq) and not violations and _may_be_kept(request):
            self._requests.keep(key, request, len(key))
        return request

    def answer(self, request: AssociateRq, data: bytes, policy: AcceptorPolicy) -> Answer:
        """What `negotiation.negotiate` gives, but for the AE titles in the answer.

        Args:
            data: the request's variable field.
        """
        if len(data) > LONGEST_KEY or not _may_be_kept(request):
            return answer(negotiate(request, policy))
        key = (id(policy), data[ITEMS:])
        known = self._answers.get(key)
        if known is not None:
            return known[1]
        made = answer(negotiate(request, policy))
        self._answers.keep(key, (policy, made), len(data))
        return made


def _may_be_kept(request: AssociateRq) -> bool:
    return user_item(request.user_information, UserIdentityRq) is None
