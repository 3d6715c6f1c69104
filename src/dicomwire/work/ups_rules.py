"""Rules of Unified Procedure Steps: states, what requests do in each, attributes (PS3.4 CC.1, CC.2.5)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, TypeAlias

from dicomwire.work.attributes import Rule
from dicomwire.work.refusal import Reason


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
}

_CODE: Final = (Rule("CodeValue", "3"), Rule("CodingSchemeDesignator", "3"), Rule("CodeMeaning", "1"))
_REQUEST: Final = (
    Rule("StudyInstanceUID", "1"),
    Rule("AccessionNumber", "2"),
    Rule("RequestedProcedureID", "2"),
    Rule("RequestedProcedureDescription", "2"),
    Rule("RequestedProcedureCodeSequence", "2"),
    Rule("RequestingService", "3"),
)
_PERFORMED: Final = (
    Rule("ActualHumanPerformersSequence", "3"),
    Rule("PerformedStationNameCodeSequence", "1"),
    Rule("PerformedProcedureStepStartDateTime", "1"),
    Rule("PerformedWorkitemCodeSequence", "1"),
    Rule("PerformedProcedureStepEndDateTime", "1"),
    Rule("OutputInformationSequence", "2"),
)
_CANCELED: Final = (
    Rule("ProcedureStepCancellationDateTime", "1"),
    Rule("ProcedureStepDiscontinuationReasonCodeSequence", "1", _CODE),
)

# PS3.4 Table CC.2.5-3: types of N-CREATE and of N-SET, "-" is not allowed
_ATTRIBUTES: Final[tuple[tuple[str, str, str, tuple[Rule, ...]], ...]] = (
    ("ScheduledProcedureStepPriority", "1", "3", ()),
    ("ProcedureStepLabel", "1", "3", ()),
    ("WorklistLabel", "2", "3", ()),
    ("ScheduledProcessingParametersSequence", "2", "3", ()),
    ("ScheduledStationNameCodeSequence", "2", "3", ()),
    ("ScheduledStationClassCodeSequence", "2", "3", ()),
    ("ScheduledStationGeographicLocationCodeSequence", "2", "3", ()),
    ("ScheduledHumanPerformersSequence", "3", "3", ()),
    ("ScheduledProcedureStepStartDateTime", "1", "3", ()),
    ("ExpectedCompletionDateTime", "3", "3", ()),
    ("ScheduledWorkitemCodeSequence", "2", "3", ()),
    ("CommentsOnTheScheduledProcedureStep", "2", "3", ()),
    ("InputReadinessState", "1", "3", ()),
    ("InputInformationSequence", "2", "3", ()),
    ("StudyInstanceUID", "2", "3", ()),
    ("PatientName", "2", "-", ()),
    ("PatientID", "2", "-", ()),
    ("IssuerOfPatientID", "2", "-", ()),
    ("OtherPatientIDsSequence", "2", "-", ()),
    ("PatientBirthDate", "2", "-", ()),
    ("PatientSex", "2", "-", ()),
    ("AdmissionID", "2", "-", ()),
    ("IssuerOfAdmissionIDSequence", "2", "-", ()),
    ("AdmittingDiagnosesDescription", "2", "-", ()),
    ("AdmittingDiagnosesCodeSequence", "2", "-", ()),
    ("ReferencedRequestSequence", "2", "-", _REQUEST),
    ("ProcedureStepState", "1", "-", ()),
    ("ProcedureStepProgressInformationSequence", "2", "3", ()),
    ("UnifiedProcedureStepPerformedProcedureSequence", "2", "3", ()),
)  # fmt: skip

CREATE: Final = tuple(Rule(name, create, items) for name, create, _, items in _ATTRIBUTES)
SET: Final = tuple(Rule(name, change, items) for name, _, change, items in _ATTRIBUTES)
FINAL: Final[Mapping[State, tuple[Rule, ...]]] = {
    State.COMPLETED: (Rule("UnifiedProcedureStepPerformedProcedureSequence", "1", _PERFORMED),),
    State.CANCELED: (Rule("ProcedureStepProgressInformationSequence", "1", _CANCELED),),
}
"""What must be there in a final state: P and X of the table."""
