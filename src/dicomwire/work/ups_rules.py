"""Rules of Unified Procedure Steps: states, what requests do in each, what a site allows (PS3.4 CC.1, CC.2).

`ups_attributes` has the table of attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final, TypeAlias

from dicomwire.work.attributes import Rule
from dicomwire.work.refusal import Reason
from dicomwire.work.ups_attributes import CANCELED, COMPLETED


class State(Enum):
    """Values of Procedure Step State (0074,1000)."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"


class Warned(Enum):
    """What is done, or need not be done, with a remark."""

    ALREADY_CANCELED = "The UPS is already in the requested state of CANCELED"
    ALREADY_COMPLETED = "The UPS is already in the requested state of COMPLETED"
    LOCK_NOT_GRANTED = "Deletion Lock not granted"
    MODIFIED = "The UPS was created with modifications"
    COERCED = "Coerced invalid values to valid values"


class OnCancel(StrEnum):
    """What becomes of a request to cancel a workitem that somebody has in progress (PS3.4 CC.2.2.3)."""

    REPORT = "report"  # it is reported to who has subscribed, if anybody has
    CONTACT = "contact"  # refused where nobody has subscribed: its performer cannot be contacted
    REFUSE = "refuse"  # refused: performers here do not cancel


@dataclass(frozen=True, slots=True)
class Policy:
    """What a site allows.

    Attributes:
        deletion_locks: who subscribes may lock workitems; otherwise subscriptions are without.
        events: who subscribes is told of events; otherwise nobody can subscribe.
    """

    deletion_locks: bool = True
    events: bool = True
    on_cancel: OnCancel = OnCancel.REPORT


class Asked(Enum):
    """Requests of the state table."""

    IN_PROGRESS = auto()  # with the correct Transaction UID, as the next two
    COMPLETED = auto()
    CANCELED = auto()
    SCHEDULED = auto()
    CANCEL = auto()  # Request UPS Cancel
    SET = auto()


class Done(Enum):
    """What a request that is performed does."""

    CHANGED = auto()  # the state is the one asked for
    CANCELED = auto()  # by way of IN PROGRESS, by ourselves
    REPORTED = auto()  # the performer is told
    SET = auto()


Outcome: TypeAlias = Done | Warned | Reason

# PS3.4 Table CC.1.1-2, and CC.2.6.3 for N-SET: outcomes in SCHEDULED, IN PROGRESS, COMPLETED, CANCELED
_TABLE: Final[Mapping[Asked, tuple[Outcome, Outcome, Outcome, Outcome]]] = {
    Asked.IN_PROGRESS: (Done.CHANGED, Reason.UPS_IN_PROGRESS, Reason.UPS_FINAL, Reason.UPS_FINAL),
    Asked.SCHEDULED: (Reason.UPS_ONLY_CREATED,) * 4,
    Asked.COMPLETED: (
        Reason.UPS_NOT_IN_PROGRESS, Done.CHANGED, Warned.ALREADY_COMPLETED, Reason.UPS_FINAL,
    ),
    Asked.CANCEL: (Done.CANCELED, Done.REPORTED, Reason.UPS_COMPLETED, Warned.ALREADY_CANCELED),
    Asked.CANCELED: (
        Reason.UPS_NOT_IN_PROGRESS, Done.CHANGED, Reason.UPS_FINAL, Warned.ALREADY_CANCELED,
    ),
    Asked.SET: (Done.SET, Done.SET, Reason.UPS_FINAL, Reason.UPS_FINAL),
}  # fmt: skip

OUTCOMES: Final[Mapping[tuple[Asked, State], Outcome]] = {
    (asked, state): outcome
    for asked, outcomes in _TABLE.items()
    for state, outcome in zip(State, outcomes, strict=True)
}

WORDS: Final[Mapping[Reason, str]] = {
    Reason.UPS_FINAL: "The UPS may no longer be updated",
    Reason.UPS_TRANSACTION: "The correct Transaction UID was not provided",
    Reason.UPS_IN_PROGRESS: "The UPS is already IN PROGRESS",
    Reason.UPS_ONLY_CREATED: "The UPS may only become SCHEDULED via N-CREATE",
    Reason.UPS_NOT_MET: "Final state requirements are not met",
    Reason.UPS_UNKNOWN: "There is no such UPS",
    Reason.UPS_RECEIVER_UNKNOWN: "Receiving AE title is unknown here",
    Reason.UPS_NOT_SCHEDULED: "A UPS begins SCHEDULED",
    Reason.UPS_NOT_IN_PROGRESS: "The UPS is not yet IN PROGRESS",
    Reason.UPS_COMPLETED: "The UPS is already COMPLETED",
    Reason.UPS_NOT_APPROPRIATE: "The action is not for this instance",
    Reason.UPS_GONE: "The UPS has been deleted",
    Reason.UPS_NO_CONTACT: "The performer cannot be contacted",
    Reason.UPS_NOT_CANCELED: "The performer chooses not to cancel",
    Reason.UPS_NO_EVENTS: "This SCP does not support event reports",
}

FINAL: Final[Mapping[State, tuple[Rule, ...]]] = {State.COMPLETED: COMPLETED, State.CANCELED: CANCELED}
"""What must be there in a final state."""
