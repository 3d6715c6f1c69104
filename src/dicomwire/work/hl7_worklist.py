"""HL7 orders carried out on the worklist, and their acknowledgements (HL7 v2.5.1 2.9, 2.15)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from dicomwire.work import worklist
from dicomwire.work.hl7_orders import Header, Order, Rejected
from dicomwire.work.refusal import Refused
from dicomwire.work.store import Transaction
from dicomwire.work.worklist import Item

SOURCE: Final = "hl7"
_ERRORS: Final = {"AA": "0", "AE": "207", "AR": "200"}  # table 0357: application error, unsupported message


def carry_out(transaction: Transaction, orders: Sequence[Order], *, now: float) -> int:
    """Carry out the orders of one message, all or none.

    Returns: how many items there are more, others or less. Raises: Rejected.
    """
    count = 0
    for order in orders:
        if order.item is not None:
            try:
                count += len(worklist.put(transaction, order.item, source=SOURCE, now=now))
            except Refused as refused:
                raise Rejected("AE", refused.words) from None
            continue
        items = _known(transaction, order)
        if not items:
            raise Rejected("AE", "there is no such order", "ORC-2")
        for item in items:
            if order.status:
                pair = (item.attributes.text("StudyInstanceUID"), item.step.text("ScheduledProcedureStepID"))
                worklist.performed(transaction, [pair], order.status, now)
            else:
                worklist.remove(transaction, item.id)
        count += len(items)
    return count


def acknowledgement(header: Header, rejected: Rejected | None, *, now: float) -> bytes:
    """The ACK of a message; rejected: why it is not carried out."""
    code = rejected.code if rejected is not None else "AA"
    words = _plain(rejected.words if rejected is not None else "")
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d%H%M%S+0000")
    trigger = f"ACK^{_plain(header.trigger)}^ACK" if header.trigger else "ACK"
    receiver, sender = ("|".join(map(_plain, each)) for each in (header.receiver, header.sender))
    control = _plain(header.control_id)
    segments = [
        f"MSH|^~\\&|{receiver}|{sender}|{moment}||{trigger}|A{control}|P|{_plain(header.version) or '2.5.1'}",
        f"MSA|{code}|{control}|{words}",
    ]
    if rejected is not None:
        segment, _, number = rejected.location.partition("-")
        where = f"{segment}^1^{number}" if number else segment
        segments.append(f"ERR||{where}|{_ERRORS[code]}|E||||{words}")
    return "".join(f"{segment}\r" for segment in segments).encode("ascii", "replace")


def _known(transaction: Transaction, order: Order) -> list[Item]:
    """The items that an order is about: that of its step, else all of its accession number."""
    items = worklist.ordered(transaction, "ScheduledProcedureStepID", order.step_id)
    if order.accession_number:
        items = [each for each in items if each.attributes.text("AccessionNumber") == order.accession_number]
        items = items or worklist.ordered(transaction, "AccessionNumber", order.accession_number)
    return items


def _plain(text: str) -> str:
    """Text that cannot be taken for anything else in a message."""
    return "".join(c for c in text if c not in "|^~\\&\r\n\x0b\x1c")
