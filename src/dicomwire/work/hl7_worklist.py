"""HL7 orders carried out on the worklist (HL7 v2.5.1 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dicomwire.work import worklist
from dicomwire.work.hl7_message import ErrorCode, Rejected
from dicomwire.work.hl7_orders import Order
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Transaction
from dicomwire.work.worklist import Item

SOURCE: Final = "hl7"
_ERRORS: Final = {
    Reason.MISSING_ATTRIBUTE: ErrorCode.REQUIRED_FIELD_MISSING,
    Reason.MISSING_VALUE: ErrorCode.REQUIRED_FIELD_MISSING,
    Reason.INVALID_VALUE: ErrorCode.DATA_TYPE,
}


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
                fault = _ERRORS.get(refused.reason, ErrorCode.APPLICATION_INTERNAL)
                raise Rejected("AE", refused.words, "", fault) from None
            continue
        items = _known(transaction, order)
        if not items:
            raise Rejected("AE", "there is no such order", "ORC-2", ErrorCode.UNKNOWN_KEY)
        for item in items:
            if order.status:
                pair = (item.attributes.text("StudyInstanceUID"), item.step.text("ScheduledProcedureStepID"))
                worklist.performed(transaction, [pair], order.status, now)
            else:
                worklist.remove(transaction, item.id)
        count += len(items)
    return count


def _known(transaction: Transaction, order: Order) -> list[Item]:
    """The items that an order is about: that of its step, else all of its accession number."""
    items = worklist.ordered(transaction, "ScheduledProcedureStepID", order.step_id)
    if order.accession_number:
        items = [each for each in items if each.attributes.text("AccessionNumber") == order.accession_number]
        items = items or worklist.ordered(transaction, "AccessionNumber", order.accession_number)
    return items
