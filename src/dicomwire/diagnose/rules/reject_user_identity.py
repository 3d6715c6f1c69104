"""The association was rejected for its user identity (PS3.7 D.3.3.7.3)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import rejection
from dicomwire.upper_layer.contexts import user_item
from dicomwire.upper_layer.items import UserIdentityRq


def detect(conversation: Conversation) -> Iterator[Hit]:
    request = conversation.association_request
    identity = user_item(request.user_information, UserIdentityRq) if request else None
    if identity is None:
        return
    for source in (2, 1):  # by the provider, as most do, or the user: neither has a reason of its own for it
        for hit in rejection(conversation, source, 1):
            yield Hit(values={**hit.values, "type": identity.type}, evidence=hit.evidence)


RULE = Rule(
    code="reject-user-identity",
    layer=Layer.ASSOCIATION,
    side=Side.REQUESTOR,
    summary="{called} rejects {calling}'s login (user identity of type {type})",
    why="The request carries a user identity, and the acceptor does not take it: a wrong name or passcode, "
    "an expired ticket or token, or a type of identity it does not support.",
    fix=Fix(
        requestor="Set the right credentials; renew the token or ticket.",
        acceptor="Look at its log for the reason; enter the user, or allow that type of identity.",
    ),
    check="Try without a user identity: is the association accepted then?",
    reference="PS3.7 D.3.3.7.3",
    confidence=Confidence.LIKELY,
    detect=detect,
)
