"""A role that was not agreed on (PS3.7 D.3.3.4)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import exchange_evidence, exchange_values, titles
from dicomwire.dimse.command import CGetRq, NEventReportRq
from dicomwire.uids import SOP_CLASSES, VERIFICATION, name_of
from dicomwire.upper_layer.items import RoleSelection


def detect(conversation: Conversation) -> Iterator[Hit]:
    negotiated = conversation.negotiated
    if negotiated is None:
        return
    for exchange in conversation.exchanges:
        if isinstance(exchange.request, CGetRq):
            unsuccessful = exchange.failed or exchange.count("failed") or not exchange.done
            took = any(one.side is Side.ACCEPTOR and one.name == "C-STORE" for one in conversation.exchanges)
            roles = any(
                context.scp_role
                and SOP_CLASSES.get(context.abstract_syntax, SOP_CLASSES[VERIFICATION]).storage
                for context in negotiated.contexts.values()
            )
            if unsuccessful and not took and not roles and not exchange.cancelled:
                values = {
                    **exchange_values(conversation, exchange),
                    "missing": "SCP of the storage SOP classes",
                }
                yield Hit(values=values, evidence=exchange_evidence(exchange), side=Side.REQUESTOR)
                return
        elif exchange.side is Side.ACCEPTOR and (exchange.failed or not exchange.done):
            context = negotiated.contexts.get(exchange.presentation_context_id)
            needs_scu = isinstance(exchange.request, NEventReportRq)
            if context is not None and not context.scp_role and not needs_scu:
                values = {
                    **exchange_values(conversation, exchange),
                    "missing": f"SCP of {name_of(context.abstract_syntax)}",
                }
                yield Hit(values=values, evidence=exchange_evidence(exchange), side=Side.REQUESTOR)
                return
        elif isinstance(exchange.request, NEventReportRq) and (exchange.failed or not exchange.done):
            context = negotiated.contexts.get(exchange.presentation_context_id)
            if context is not None and not context.scp_role:
                values = {
                    **exchange_values(conversation, exchange),
                    "missing": f"SCP of {name_of(context.abstract_syntax)}",
                }
                yield Hit(values=values, evidence=exchange_evidence(exchange), side=Side.EITHER)
                return
    yield from _refused_role(conversation)


def _refused_role(conversation: Conversation) -> Iterator[Hit]:
    """A role was proposed, the acceptor did not grant it, and the requestor left."""
    request, answer, negotiated = (
        conversation.association_request,
        conversation.answer,
        conversation.negotiated,
    )
    if request is None or answer is None or negotiated is None or conversation.exchanges.total:
        return
    granted = {context.abstract_syntax: context for context in negotiated.contexts.values()}
    for item in request.user_information:
        if isinstance(item, RoleSelection) and item.scp_role and item.sop_class_uid in granted:
            if granted[item.sop_class_uid].scp_role or not (conversation.releases or conversation.aborts):
                continue
            name = name_of(item.sop_class_uid)
            yield Hit(
                values={**titles(conversation), "missing": f"SCP of {name}", "operation": "what it wanted"},
                evidence=(answer.evidence(f"no role for {name}"),),
                side=Side.ACCEPTOR,
                confidence=Confidence.LIKELY,
            )
            return


RULE = Rule(
    code="role-not-negotiated",
    layer=Layer.CONTEXT,
    side=Side.EITHER,
    summary="{operation} fails: that {calling} may be {missing} was not agreed on",
    why="Without item 54H the requestor of an association is SCU only. C-GET needs it as SCP of the storage "
    "classes, a commitment's report on a new association needs its sender as SCP.",
    fix=Fix(
        requestor="Propose the SCP role (item 54H) for these SOP classes, with contexts for them.",
        acceptor="Answer item 54H and grant the role.",
    ),
    check="Item 54H in both A-ASSOCIATE PDUs: proposed, and answered?",
    reference="PS3.7 D.3.3.4",
    confidence=Confidence.LIKELY,
    detect=detect,
)
