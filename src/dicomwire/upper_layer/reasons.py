"""Reject and abort codes with their words (PS3.8 9.3.4, 9.3.8)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class RejectResult(IntEnum):
    """Result of an A-ASSOCIATE-RJ."""

    REJECTED_PERMANENT = 1
    REJECTED_TRANSIENT = 2


class RejectSource(IntEnum):
    """Source of an A-ASSOCIATE-RJ: which of the three reasons lists applies."""

    SERVICE_USER = 1
    SERVICE_PROVIDER_ACSE = 2
    SERVICE_PROVIDER_PRESENTATION = 3


class UserReason(IntEnum):
    """Reason/Diag. where the source is the service-user."""

    NO_REASON_GIVEN = 1
    APPLICATION_CONTEXT_NAME_NOT_SUPPORTED = 2
    CALLING_AE_TITLE_NOT_RECOGNIZED = 3
    CALLED_AE_TITLE_NOT_RECOGNIZED = 7


class AcseReason(IntEnum):
    """Reason/Diag. where the source is the service-provider, ACSE related function."""

    NO_REASON_GIVEN = 1
    PROTOCOL_VERSION_NOT_SUPPORTED = 2


class PresentationReason(IntEnum):
    """Reason/Diag. where the source is the service-provider, Presentation related function."""

    TEMPORARY_CONGESTION = 1
    LOCAL_LIMIT_EXCEEDED = 2


class AbortSource(IntEnum):
    """Source of an A-ABORT; 1 is reserved."""

    SERVICE_USER = 0
    SERVICE_PROVIDER = 2


class AbortReason(IntEnum):
    """Reason/Diag. of an A-ABORT whose source is the service-provider; 3 is reserved."""

    REASON_NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PDU_PARAMETER = 4
    UNEXPECTED_PDU_PARAMETER = 5
    INVALID_PDU_PARAMETER_VALUE = 6


_RESULT_WORDS: Final[dict[int, str]] = {
    RejectResult.REJECTED_PERMANENT: "rejected-permanent",
    RejectResult.REJECTED_TRANSIENT: "rejected-transient",
}
_SOURCE_WORDS: Final[dict[int, str]] = {
    RejectSource.SERVICE_USER: "the service-user",
    RejectSource.SERVICE_PROVIDER_ACSE: "the service-provider (ACSE related function)",
    RejectSource.SERVICE_PROVIDER_PRESENTATION: "the service-provider (Presentation related function)",
}
_REJECT_WORDS: Final[dict[tuple[int, int], str]] = {
    (1, UserReason.NO_REASON_GIVEN): "no reason given",
    (1, UserReason.APPLICATION_CONTEXT_NAME_NOT_SUPPORTED): "application context name not supported",
    (1, UserReason.CALLING_AE_TITLE_NOT_RECOGNIZED): "calling AE title not recognized",
    (1, UserReason.CALLED_AE_TITLE_NOT_RECOGNIZED): "called AE title not recognized",
    (2, AcseReason.NO_REASON_GIVEN): "no reason given",
    (2, AcseReason.PROTOCOL_VERSION_NOT_SUPPORTED): "protocol version not supported",
    (3, PresentationReason.TEMPORARY_CONGESTION): "temporary congestion",
    (3, PresentationReason.LOCAL_LIMIT_EXCEEDED): "local limit exceeded",
}
_ABORT_WORDS: Final[dict[int, str]] = {
    AbortReason.REASON_NOT_SPECIFIED: "reason not specified",
    AbortReason.UNRECOGNIZED_PDU: "unrecognized PDU",
    AbortReason.UNEXPECTED_PDU: "unexpected PDU",
    AbortReason.UNRECOGNIZED_PDU_PARAMETER: "unrecognized PDU parameter",
    AbortReason.UNEXPECTED_PDU_PARAMETER: "unexpected PDU parameter",
    AbortReason.INVALID_PDU_PARAMETER_VALUE: "invalid PDU parameter value",
}


def reject_words(result: int, source: int, reason: int) -> str:
    """What an A-ASSOCIATE-RJ says, reserved values too, the numbers behind.

    Returns: e.g. "rejected-permanent by the service-user: called AE title not recognized (1/1/7)".
    Source: PS3.8 Table 9-21.
    """
    by_whom = _SOURCE_WORDS.get(source, f"the reserved source {source}")
    what = _RESULT_WORDS.get(result, f"rejected with the reserved result {result}")
    why = _REJECT_WORDS.get((source, reason), f"reserved reason {reason}")
    return f"{what} by {by_whom}: {why} ({result}/{source}/{reason})"


def abort_words(source: int, reason: int) -> str:
    """What an A-ABORT says, reserved values too, the numbers behind.

    Returns: e.g. "aborted by the service-provider: unexpected PDU (2/2)"; the reason of a service-user says
        nothing.
    Source: PS3.8 Table 9-26.
    """
    if source == AbortSource.SERVICE_USER:
        return f"aborted by the service-user ({source}/{reason})"
    provider = source == AbortSource.SERVICE_PROVIDER
    by_whom = "the service-provider" if provider else f"the reserved source {source}"
    why = _ABORT_WORDS.get(reason, f"reserved reason {reason}")
    return f"aborted by {by_whom}: {why} ({source}/{reason})"
