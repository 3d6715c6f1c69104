"""Each proposed context: asked, answered, why, and the smallest change that makes it work (PS3.7 D.3)."""

from __future__ import annotations

from typing import Final

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import ContextLine, escaped
from dicomwire.uids import (
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
    UNCOMPRESSED_TRANSFER_SYNTAXES,
    name_of,
)
from dicomwire.upper_layer.contexts import AcceptedContext, ContextOutcome
from dicomwire.upper_layer.items import ContextResultCode, ProposedContext

LINES: Final = 256  # contexts explained of one association; there cannot be more with IDs of one byte


def context_lines(conversation: Conversation) -> tuple[ContextLine, ...]:
    """A line for each proposed context, in the order of the request."""
    request, negotiated = conversation.association_request, conversation.negotiated
    if request is None:
        return ()
    proposed = request.presentation_contexts[:LINES]
    if negotiated is None:
        return tuple(_line(context, None, "") for context in proposed)
    taken = [
        uid for context in negotiated.contexts.values() for uid in (context.transfer_syntax,)
    ]  # what the acceptor is known to take
    usable = {context.abstract_syntax: context for context in negotiated.contexts.values()}
    return tuple(
        _line(context, outcome, _change(context, outcome, taken, usable.get(context.abstract_syntax)))
        for context, outcome in zip(proposed, negotiated.outcomes, strict=False)
    )


def _line(context: ProposedContext, outcome: ContextOutcome | None, change: str) -> ContextLine:
    return ContextLine(
        presentation_context_id=context.presentation_context_id,
        abstract_syntax=escaped(context.abstract_syntax),
        transfer_syntaxes=tuple(map(escaped, context.transfer_syntaxes)),
        result=outcome.result if outcome else None,
        transfer_syntax=outcome.transfer_syntax if outcome else "",
        words=outcome.words if outcome else f"{name_of(escaped(context.abstract_syntax))}: not answered",
        change=change,
    )


def _change(
    context: ProposedContext, outcome: ContextOutcome, taken: list[str], other: AcceptedContext | None
) -> str:
    """The smallest change on either side; "" where the context works.

    taken: transfer syntaxes that the acceptor takes for any context.
    other: context in which the same abstract syntax was accepted.
    """
    if outcome.accepted:
        return ""
    name = name_of(escaped(context.abstract_syntax))
    match outcome.result:
        case ContextResultCode.TRANSFER_SYNTAXES_NOT_SUPPORTED:
            return _converted(context, name, other) if other else _other_syntax(context, name, taken)
        case ContextResultCode.ABSTRACT_SYNTAX_NOT_SUPPORTED:
            return f"acceptor: switch on {name}; the requestor can only use another SOP class or destination"
        case ContextResultCode.USER_REJECTION | ContextResultCode.NO_REASON:
            return f"acceptor: allow {name} to this device, in the role that it proposes"
        case ContextResultCode.ACCEPTANCE:
            return "acceptor: answer with one of the transfer syntaxes that were proposed"
        case None:
            return "acceptor: answer every context that was proposed"
    return "acceptor: answer with a result of 0 to 4"


def _converted(context: ProposedContext, name: str, other: AcceptedContext) -> str:
    where = f"presentation context {other.presentation_context_id} ({name_of(other.transfer_syntax)})"
    return (
        f"requestor: convert what it sends and use {where}; or acceptor: take {_wanted(context)} for {name}"
    )


def _other_syntax(context: ProposedContext, name: str, taken: list[str]) -> str:
    proposed = set(context.transfer_syntaxes)
    known = [uid for uid in taken if uid not in proposed]
    plain = [uid for uid in UNCOMPRESSED_TRANSFER_SYNTAXES if uid not in proposed]
    if known:
        other = f"requestor: propose {name_of(known[0])} too, which the acceptor takes for other contexts"
    elif IMPLICIT_VR_LITTLE_ENDIAN not in proposed:
        other = f"requestor: propose {name_of(IMPLICIT_VR_LITTLE_ENDIAN)} too, which everybody has to take"
    elif plain:
        other = f"requestor: propose {name_of(plain[0])} too"
    else:
        other = "requestor: propose another transfer syntax"
    compressed = [uid for uid in context.transfer_syntaxes if _encapsulated(uid)]
    if compressed and len(compressed) == len(proposed):
        other += ", and decompress"
    return f"{other}; or acceptor: take {_wanted(context)} for {name}"


def _wanted(context: ProposedContext) -> str:
    return ", ".join(name_of(escaped(uid)) for uid in context.transfer_syntaxes[:3]) or "a transfer syntax"


def _encapsulated(uid: str) -> bool:
    row = TRANSFER_SYNTAXES.get(uid)
    return row is not None and row.encapsulated
