"""What both sides of a negotiation have in common: contexts, outcomes, limits (PS3.7 D.3, PS3.8 9.3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from dicomwire.uids import is_valid_uid, name_of
from dicomwire.upper_layer.items import AsynchronousOperationsWindow, MaximumLength, RoleSelection, UserItem

# Bytes; assumed of a peer without item 51H. Most announce this much or more.
DEFAULT_MAXIMUM_LENGTH: Final = 16_384
SMALLEST_MAXIMUM_LENGTH: Final = 8  # bytes: 6 of a value's header and 2 of its data
SYNCHRONOUS: Final = AsynchronousOperationsWindow(1, 1)  # without item 53H, PS3.7 D.3.3.3

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """A presentation context that messages may use.

    Attributes:
        presentation_context_id: 1 to 255.
        abstract_syntax: UID of the SOP class or meta SOP class.
        transfer_syntax: UID.
        scu_role: the association's requestor may be SCU.
        scp_role: the association's requestor may be SCP.
    """

    presentation_context_id: int
    abstract_syntax: str
    transfer_syntax: str
    scu_role: bool = True
    scp_role: bool = False


@dataclass(frozen=True, slots=True)
class ContextOutcome:
    """What became of a proposed context, and why.

    Attributes:
        presentation_context_id: as proposed.
        abstract_syntax: as proposed.
        result: the code answered (`ContextResultCode`), None where the peer gave none.
        transfer_syntax: the one agreed on, "" where the context cannot be used.
        words: a sentence for logs and people, a peer's own text escaped.
    """

    presentation_context_id: int
    abstract_syntax: str
    result: int | None
    transfer_syntax: str
    words: str

    @property
    def accepted(self) -> bool:
        return self.transfer_syntax != ""


def user_item(items: tuple[UserItem, ...], kind: type[_T]) -> _T | None:
    """The first user information sub-item of a kind."""
    return next((item for item in items if isinstance(item, kind)), None)


def accepted_context(outcome: ContextOutcome, roles: Mapping[str, RoleSelection]) -> AcceptedContext:
    """The context that an accepted outcome makes; a SOP class without agreed roles has the default ones."""
    role = roles.get(outcome.abstract_syntax) or RoleSelection(outcome.abstract_syntax, True, False)
    return AcceptedContext(
        outcome.presentation_context_id,
        outcome.abstract_syntax,
        outcome.transfer_syntax,
        role.scu_role,
        role.scp_role,
    )


def maximum_length_to_send(items: tuple[UserItem, ...], pdu: str, violations: list[str]) -> int:
    """What item 51H in a peer's PDU allows us to send, 0 = no limit."""
    item = user_item(items, MaximumLength)
    if item is None:
        violations.append(f"{pdu} has no item 51H, {DEFAULT_MAXIMUM_LENGTH} bytes are assumed (PS3.8 D.1)")
        return DEFAULT_MAXIMUM_LENGTH
    if 0 < item.maximum_length < SMALLEST_MAXIMUM_LENGTH:
        what = f"{pdu} announces a maximum length of {item.maximum_length} bytes, too few for any data"
        violations.append(f"{what}, {SMALLEST_MAXIMUM_LENGTH} are assumed (PS3.8 D.1)")
        return SMALLEST_MAXIMUM_LENGTH
    return item.maximum_length


def named(uid: str) -> str:
    """The name of a UID; what a peer made up is escaped."""
    if not uid:
        return "(none)"
    return name_of(uid) if is_valid_uid(uid) else ascii(uid)


def smaller_window(
    one: AsynchronousOperationsWindow, other: AsynchronousOperationsWindow
) -> AsynchronousOperationsWindow:
    """What both agree to; 0 is no limit."""

    def least(a: int, b: int) -> int:
        return min(a, b) or max(a, b)

    return AsynchronousOperationsWindow(
        least(one.invoked, other.invoked), least(one.performed, other.performed)
    )
