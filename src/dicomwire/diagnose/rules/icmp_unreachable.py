"""A router or the host itself says that it cannot be reached (RFC 792, RFC 4443)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Evidence, Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import SHOWN, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    errors = [one for one in conversation.connection.icmp if not one[0].too_big]
    if not errors or conversation.released:
        return
    error, _, _ = errors[0]
    yield Hit(
        values={**titles(conversation), "words": error.words, "by": error.by},
        evidence=tuple(
            Evidence(what=f"ICMP {one.words} from {one.by}", time=time, frame=frame)
            for one, time, frame in errors[:SHOWN]
        ),
    )


RULE = Rule(
    code="icmp-unreachable",
    layer=Layer.TCP,
    side=Side.NETWORK,
    summary="{acceptor_address} port {port} cannot be reached: {by} says {words}",
    why="A router, a firewall or the host itself answered with an ICMP error instead of letting the "
    "connection through: no route, a host that is off, or a rule that forbids it.",
    fix=Fix(
        requestor="Check the peer's address and the own gateway and netmask.",
        acceptor="Check that the device is on and has the address {acceptor_address}.",
        network="Look at {by}: its routes to {acceptor_address}, and its firewall rules for TCP port {port}.",
    ),
    check="Trace the route from the requestor to {acceptor_address}.",
    reference="RFC 1122 4.2.3.9",
    detect=detect,
)
