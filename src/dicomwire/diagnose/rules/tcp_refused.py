"""Nobody listens on the port (RFC 9293 3.10.7)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Evidence, Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    connection = conversation.connection
    refusals = [end for end in connection.ends if end.reset and end.answer]
    if connection.established or not refusals:
        return
    yield Hit(
        values=titles(conversation),
        evidence=(
            *(Evidence(what="TCP SYN", time=time, frame=frame) for time, frame in connection.syns[:1]),
            Evidence(what="TCP RST", time=refusals[0].time, frame=refusals[0].frame, sender=Side.ACCEPTOR),
        ),
    )


RULE = Rule(
    code="tcp-refused",
    layer=Layer.TCP,
    side=Side.ACCEPTOR,
    summary="{acceptor_address} refuses the connection: nobody listens on port {port}",
    why="The host answered, so address and network are right. Its DICOM service is not running, listens on "
    "another port or another address only, or a firewall rejects the connection in its name.",
    fix=Fix(
        requestor="Compare the port {port} with the one that the acceptor listens on.",
        acceptor="Start the DICOM service, and let it listen on port {port} of {acceptor_address}.",
        network="Check that no firewall rejects TCP port {port}.",
    ),
    check="List the listening ports on {acceptor_address} (ss -ltn, netstat -an).",
    reference="PS3.8 9.1.1",
    detect=detect,
)
