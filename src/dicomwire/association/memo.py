"""A memory of negotiations: most peers ask the same thing each time (PS3.8 9.3.2)."""

from __future__ import annotations

from collections import OrderedDict

from dicomwire.upper_layer.items import UserIdentityRq
from dicomwire.upper_layer.negotiation import AcceptorPolicy, Negotiation, negotiate, user_item
from dicomwire.upper_layer.pdu import AssociateRq

ITEMS = 68  # byte of an A-ASSOCIATE-RQ's variable field at which its items begin (PS3.8 Table 9-11)
LONGEST_KEY = 32_768  # bytes; a request of 128 contexts with 5 transfer syntaxes has 25,000


class Memo:
    """Negotiations by the request's bytes after its AE titles; never admissions, never requests with 58H."""

    def __init__(self, size: int) -> None:
        self._size = size
        # The policy is kept with what was negotiated by it, so that no other one gets its id.
        self._known: OrderedDict[tuple[int, bytes], tuple[AcceptorPolicy, Negotiation]] = OrderedDict()

    def negotiate(self, request: AssociateRq, data: bytes, policy: AcceptorPolicy) -> Negotiation:
        """What `negotiation.negotiate` gives, but for the AE titles in the answer."""
        if (
            not self._size
            or len(data) > LONGEST_KEY
            or user_item(request.user_information, UserIdentityRq) is not None
        ):
            return negotiate(request, policy)
        key = (id(policy), data[ITEMS:])
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = (policy, negotiate(request, policy))
            if len(self._known) > self._size:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return known[1]
