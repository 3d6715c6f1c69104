"""Status codes, their class and their words, in general and per service (PS3.7 C; PS3.4 per service).

Pure lookup. A service's own codes come first, then the general ones, then the class that a code's first
digits stand for; a code that none knows is a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from dicomwire.dimse._status import STATUS_CODES

SUCCESS: Final = 0x0000
PENDING: Final = 0xFF00
PENDING_WARNING: Final = 0xFF01
CANCEL: Final = 0xFE00
ATTRIBUTES_NOT_SUPPORTED: Final = 0x0001
NO_SUCH_ATTRIBUTE: Final = 0x0105
INVALID_ATTRIBUTE_VALUE: Final = 0x0106
PROCESSING_FAILURE: Final = 0x0110
DUPLICATE_SOP_INSTANCE: Final = 0x0111
NO_SUCH_SOP_INSTANCE: Final = 0x0112
NO_SUCH_EVENT_TYPE: Final = 0x0113
INVALID_ARGUMENT_VALUE: Final = 0x0115
INVALID_SOP_INSTANCE: Final = 0x0117
NO_SUCH_SOP_CLASS: Final = 0x0118
CLASS_INSTANCE_CONFLICT: Final = 0x0119
MISSING_ATTRIBUTE: Final = 0x0120
MISSING_ATTRIBUTE_VALUE: Final = 0x0121
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
NOT_AUTHORIZED: Final = 0x0124
NO_SUCH_ACTION_TYPE: Final = 0x0123
DUPLICATE_TRANSACTION_UID: Final = 0x0131  # PS3.3 C.14.1.1
DUPLICATE_INVOCATION: Final = 0x0210
UNRECOGNIZED_OPERATION: Final = 0x0211
MISTYPED_ARGUMENT: Final = 0x0212
RESOURCE_LIMITATION: Final = 0x0213
OUT_OF_RESOURCES: Final = 0xA700  # this and the next three: PS3.4 Table B.2-1
DOES_NOT_MATCH_SOP_CLASS: Final = 0xA900
COERCION_OF_DATA_ELEMENTS: Final = 0xB000
CANNOT_UNDERSTAND: Final = 0xC000
CANNOT_CALCULATE_MATCHES: Final = 0xA701  # this and the next four: PS3.4 Tables C.4-2 and C.4-3
CANNOT_PERFORM_SUB_OPERATIONS: Final = 0xA702
MOVE_DESTINATION_UNKNOWN: Final = 0xA801
IDENTIFIER_DOES_NOT_MATCH: Final = 0xA900
NO_SUCH_FRAMES: Final = 0xAA00  # the first of five: PS3.4 Table Y.4-1
INVALID_FRAME_REQUEST: Final = 0xAA04
SUB_OPERATIONS_FAILED: Final = 0xB000  # one or more of them
UNABLE_TO_PROCESS: Final = 0xC000

# Services as `STATUS_CODES` names them; these have names of their own because code asks for them.
GENERAL: Final = "general (PS3.7 Annex C)"
ECHO: Final = "C-ECHO"
STORE: Final = "C-STORE (Storage)"
FIND: Final = "C-FIND (Query/Retrieve)"
MOVE: Final = "C-MOVE (Query/Retrieve)"
GET: Final = "C-GET (Query/Retrieve)"

_UPS: Final = "1.2.840.10008.5.1.4.34.6.1"
_SERVICE_OF: Final[Mapping[tuple[str, str, int], str]] = {
    ("C-ECHO", "", 0): ECHO,
    ("C-STORE", "", 0): STORE,
    ("C-FIND", "", 0): FIND,
    ("C-MOVE", "", 0): MOVE,
    ("C-GET", "", 0): GET,
    ("N-SET", "1.2.840.10008.3.1.2.3.3", 0): "N-SET (MPPS)",
    ("N-GET", "1.2.840.10008.3.1.2.3.4", 0): "N-GET (MPPS Retrieve)",
    ("N-CREATE", _UPS, 0): "N-CREATE (UPS Push)",
    ("N-SET", _UPS, 0): "N-SET (UPS Pull)",
    ("N-GET", _UPS, 0): "N-GET (UPS)",
    ("N-ACTION", _UPS, 1): "N-ACTION 1 Change UPS State",
    ("N-ACTION", _UPS, 2): "N-ACTION 2 Request UPS Cancel",
    **{("N-ACTION", _UPS, action): "N-ACTION 3/4/5 UPS subscription" for action in (3, 4, 5)},
}
"""Names of the tables by message, SOP class and Action Type ID; "" and 0 for any."""


class StatusClass(Enum):
    """Classes of status (PS3.7 C)."""

    SUCCESS = "Success"
    PENDING = "Pending"
    CANCEL = "Cancel"
    WARNING = "Warning"
    FAILURE = "Failure"


@dataclass(frozen=True, slots=True)
class Status:
    """One row of a service's table of status codes.

    Attributes:
        service: name of the table.
        status_class: what the code says about the operation.
        code: four hexadecimal digits, `x` for any.
        meaning: the standard's words; "" where it has none.
        related_fields: what a response with this code may carry, in the standard's notation.
        source: table of the standard.
    """

    service: str
    status_class: StatusClass
    code: str
    meaning: str
    related_fields: str
    source: str

    def covers(self, code: int) -> bool:
        """Whether a code is this one or within its range."""
        return all(mine in ("x", digit) for mine, digit in zip(self.code, f"{code:04X}", strict=True))


def _by_service() -> dict[str, tuple[Status, ...]]:
    tables: dict[str, list[Status]] = {}
    for service, status_class, code, meaning, related_fields, source in STATUS_CODES:
        status = Status(service, StatusClass(status_class), code, meaning, related_fields, source)
        tables.setdefault(service, []).append(status)
    return {service: tuple(rows) for service, rows in tables.items()}


SERVICES: Final[Mapping[str, tuple[Status, ...]]] = MappingProxyType(_by_service())

# PS3.7 C: what a code stands for that no table lists.
_BY_FIRST_DIGITS = (
    ("0000", StatusClass.SUCCESS),
    ("0001", StatusClass.WARNING),
    ("FF00", StatusClass.PENDING),
    ("FF01", StatusClass.PENDING),
    ("FE00", StatusClass.CANCEL),
    ("B", StatusClass.WARNING),
)


def service_of(message: str, sop_class_uid: str = "", action_type_id: int = 0) -> str:
    """Name of the table that the statuses of a request are in; the general one where it has none of its own.

    message: such as "N-SET".
    """
    own = _SERVICE_OF.get((message, sop_class_uid, action_type_id))
    return own or _SERVICE_OF.get((message, "", 0), GENERAL)


@lru_cache(maxsize=1024)
def find(service: str, code: int) -> Status | None:
    """The row of a status code, the service's own or the general one; exact codes before ranges.

    Raises: KeyError, when there is no such service.
    """
    for table in (SERVICES[service], SERVICES[GENERAL]):
        rows = [row for row in table if row.covers(code)]
        if rows:
            return min(rows, key=lambda row: row.code.count("x"))
    return None


def status_class(service: str, code: int) -> StatusClass:
    """Whether a status code of a service is success, pending, cancel, warning or failure.

    Args:
        service: a name of `SERVICES`.
        code: 0 to FFFFH, known or not.

    Raises: KeyError, when there is no such service.
    Source: PS3.7 C.
    """
    row = find(service, code)
    if row is not None:
        return row.status_class
    digits = f"{code:04X}"
    return next((found for first, found in _BY_FIRST_DIGITS if digits.startswith(first)), StatusClass.FAILURE)


def words(service: str, code: int, comment: str = "") -> str:
    """What a status code of a service says, such as `A700H Refused: Out of resources`, then a comment."""
    row = find(service, code)
    meaning = row.meaning or row.status_class.value if row else f"unknown {status_class(service, code).value}"
    return f"{code:04X}H {meaning}{f': {comment}' if comment else ''}"
