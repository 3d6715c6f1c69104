"""What the two sides of an association agreed on, as acceptor and as requestor (PS3.7 D.3, PS3.8 7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dicomwire.access.identity import Identity
from dicomwire.association.words import printable
from dicomwire.upper_layer.items import (
    ImplementationClassUID,
    ImplementationVersionName,
    UserIdentityAc,
    UserItem,
)
from dicomwire.upper_layer.negotiation import AcceptedContext, user_item


@dataclass(frozen=True, slots=True)
class Implementation:
    """Whose software the peer is (PS3.7 D.3.3.2); each "" where it does not say."""

    class_uid: str = ""
    version_name: str = ""


def implementation(user_information: tuple[UserItem, ...]) -> Implementation:
    """What a peer's user information says of its software."""
    uid = user_item(user_information, ImplementationClassUID)
    name = user_item(user_information, ImplementationVersionName)
    return Implementation(uid.uid if uid is not None else "", name.name if name is not None else "")


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was negotiated.

    Attributes:
        called_ae_title, calling_ae_title: as in the request.
        contexts: accepted ones, by presentation context ID.
        maximum_length: of a P-DATA variable field that the peer takes, 0 for any.
        invoke, perform: how many requests each side may have outstanding; 0 is no limit.
        implementation: the peer's.
        identity: the user behind it, verified or not.
        refused: words for each context that was not accepted.
        extended_negotiation: the acceptor's item 56H per SOP class.
        user_identity: the acceptor's item 59H, as requestor.
        character_set: Specific Character Set (0008,0005) of what the peer asks, where that names none; by our
            configuration, not negotiated.
    """

    called_ae_title: str
    calling_ae_title: str
    contexts: Mapping[int, AcceptedContext]
    maximum_length: int
    invoke: int = 1
    perform: int = 1
    implementation: Implementation = Implementation()
    identity: Identity | None = None
    refused: tuple[str, ...] = ()
    extended_negotiation: Mapping[str, bytes] = field(default_factory=dict)
    user_identity: UserIdentityAc | None = None
    character_set: str | None = None

    def described(self) -> dict[str, object]:
        """What of it a log line of its beginning says."""
        peer, identity = self.implementation, self.identity
        facts: dict[str, object] = {
            "contexts": len(self.contexts),
            "refused": [printable(words) for words in self.refused],
            "implementation": printable(f"{peer.class_uid} {peer.version_name}".strip()),
            "maximum_length": self.maximum_length,
        }
        if identity is not None:
            facts["user"] = printable(identity.name)
            facts["identity"] = {name: printable(value) for name, value in identity.described().items()}
        return facts
