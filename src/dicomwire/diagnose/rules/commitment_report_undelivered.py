"""The result of a storage commitment did not arrive (PS3.4 J.3.3)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Evidence, Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import exchange_evidence, exchange_values
from dicomwire.diagnose.timeline import STORAGE_COMMITMENT
from dicomwire.dimse.command import NActionRq, NEventReportRq
from dicomwire.upper_layer.reasons import reject_words


def detect(conversation: Conversation) -> Iterator[Hit]:
    asked = [
        one
        for one in conversation.exchanges
        if isinstance(one.request, NActionRq) and one.sop_class_uid == STORAGE_COMMITMENT and one.status == 0
    ]
    for exchange in asked:
        every = [conversation, *conversation.related]
        reports = [one for talk in every for one in talk.exchanges if isinstance(one.request, NEventReportRq)]
        if any(one.status == 0 for one in reports):
            continue
        values = exchange_values(conversation, exchange)
        for other in conversation.related:
            words = ""
            if not other.connection.established:
                words = "no connection"
            elif other.rejected is not None:
                pdu = other.rejected.pdu
                words = reject_words(pdu.result, pdu.source, pdu.reason)
            elif other.negotiated is not None and not any(
                context.abstract_syntax == STORAGE_COMMITMENT
                for context in other.negotiated.contexts.values()
            ):
                words = "its presentation context was refused"
            if words:
                time, frame = other.connection.opened
                seen = Evidence(
                    what=f"the report's connection to {other.acceptor}: {words}", time=time, frame=frame
                )
                yield Hit(values={**values, "words": words}, evidence=(seen, *exchange_evidence(exchange)))
                return
        for report in reports:
            words = report.status_words if report.done else "it was not answered"
            yield Hit(values={**values, "words": words}, evidence=exchange_evidence(report))
            return


RULE = Rule(
    code="commitment-report-undelivered",
    layer=Layer.DIMSE,
    side=Side.REQUESTOR,
    summary="{called} could not deliver the result of the storage commitment to {calling}: {words}",
    why="The archive reports with N-EVENT-REPORT, on an association of its own as a rule. The modality does "
    "not listen, rejects the archive, or does not take the role.",
    fix=Fix(
        requestor="Let the modality listen for associations of {called}, and accept Storage Commitment with "
        "the archive as SCP (item 54H).",
        acceptor="Correct address, port and AE title of {calling}.",
        network="Let the archive connect to the modality.",
    ),
    check="C-ECHO from the archive to {calling}.",
    reference="PS3.4 J.3.3",
    detect=detect,
)
