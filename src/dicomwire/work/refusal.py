"""Why the store of work refuses a request, in words that both doors translate (PS3.7 C.4, PS3.4)."""

from __future__ import annotations

from enum import Enum, auto

from dicomwire.errors import DicomwireError


class Reason(Enum):
    """Kinds of refusal; `services/normalized.py` has the status of each."""

    DUPLICATE_INSTANCE = auto()
    NO_SUCH_INSTANCE = auto()
    NO_SUCH_ATTRIBUTE = auto()
    MISSING_ATTRIBUTE = auto()
    MISSING_VALUE = auto()
    INVALID_VALUE = auto()
    INVALID_INSTANCE = auto()
    NO_SUCH_ACTION = auto()
    NO_SUCH_EVENT = auto()
    INVALID_ARGUMENT = auto()
    DUPLICATE_TRANSACTION = auto()
    FINAL_STATE = auto()  # a procedure step that may no longer be updated
    PROCESSING_FAILURE = auto()
    CLASS_CONFLICT = auto()  # the instance is of another SOP class
    MISTYPED = auto()  # a sequence where none should be, or none where one should
    UPS_FINAL = auto()  # this and the rest: Unified Procedure Steps (PS3.4 CC.2)
    UPS_TRANSACTION = auto()
    UPS_IN_PROGRESS = auto()
    UPS_ONLY_CREATED = auto()
    UPS_NOT_MET = auto()
    UPS_UNKNOWN = auto()
    UPS_RECEIVER_UNKNOWN = auto()
    UPS_NOT_SCHEDULED = auto()
    UPS_NOT_IN_PROGRESS = auto()
    UPS_COMPLETED = auto()
    UPS_NOT_APPROPRIATE = auto()
    UPS_GONE = auto()
    UPS_NO_CONTACT = auto()
    UPS_NOT_CANCELED = auto()
    UPS_NO_EVENTS = auto()


class Refused(DicomwireError):
    """A request that is against the rules; nothing has been changed.

    Attributes:
        words: at most 64 characters, without a patient's values.
        attributes: tags of the attributes that are the cause.
    """

    def __init__(self, reason: Reason, words: str, attributes: tuple[int, ...] = ()) -> None:
        super().__init__(words)
        self.reason = reason
        self.words = words
        self.attributes = attributes
