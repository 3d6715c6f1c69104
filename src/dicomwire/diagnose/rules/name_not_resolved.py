"""A name for which there is no address (RFC 1035)."""

from __future__ import annotations

from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Rule

RULE = Rule(
    code="name-not-resolved",
    layer=Layer.TCP,
    side=Side.REQUESTOR,
    summary="the name {name} has no address ({words})",
    why="The requestor knows the peer by a name, and its name server does not know that name or does not "
    "answer: a slip in the name, a missing domain, a device that was never entered, the wrong name server.",
    fix=Fix(
        requestor="Enter the peer's name as the name server has it, or its IP address.",
        network="Enter {name} in the name server, or in the hosts file of the requestor.",
    ),
    check="Ask the name server from the requestor's machine (nslookup {name}).",
    reference="RFC 1035",
)
