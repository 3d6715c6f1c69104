"""What goes wrong at the remote side of a gateway, with the step at which it did.

The doors translate it: `web_app` into 502 and 504 (RFC 9110 15.6.3, 15.6.5), the DIMSE services into
statuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dicomwire.errors import (
    AssociationError,
    AssociationTimeout,
    ConnectionFailed,
    DataSetError,
    DicomwireError,
    NoAcceptedContext,
    OperationFailed,
    Rejected,
    TLSFailed,
    WebServiceError,
)
from dicomwire.upper_layer.reasons import RejectResult


class RemoteFailed(DicomwireError):
    """The remote archive did not do what a request needs; the words name it, the step and the reason.

    Attributes:
        late: it did not answer in time.
        away: nothing was reached, or it has no room at the moment: later it may go well.
    """

    def __init__(self, words: str, *, late: bool = False, away: bool = False) -> None:
        super().__init__(words)
        self.late = late
        self.away = away


_WORDS: tuple[tuple[type[DicomwireError], str], ...] = (
    (AssociationTimeout, "no answer in time"),
    (Rejected, "association rejected"),
    (NoAcceptedContext, "no presentation context"),
    (ConnectionFailed, "unreachable"),
    (AssociationError, "association ended"),
    (OperationFailed, "answered with a failure"),
    (DataSetError, "answered with what cannot be read"),
)


@contextmanager
def at_peer(ae_title: str, step: str) -> Iterator[None]:
    """What fails inside at a DIMSE peer becomes a RemoteFailed that says at which step."""
    try:
        yield
    except (AssociationError, OperationFailed, DataSetError) as error:
        what = next(words for kind, words in _WORDS if isinstance(error, kind))
        raise RemoteFailed(
            f"{ae_title}, {step}: {what}: {error}",
            late=isinstance(error, AssociationTimeout),
            away=_passing(error),
        ) from error


def _passing(error: DicomwireError) -> bool:
    """Whether the same may go well later, with nothing changed on either side."""
    if isinstance(error, Rejected):
        return error.result == RejectResult.REJECTED_TRANSIENT
    return isinstance(error, ConnectionFailed | AssociationTimeout) and not isinstance(error, TLSFailed)


@contextmanager
def at_service(name: str, step: str) -> Iterator[None]:
    """What fails inside at a DICOMweb service becomes a RemoteFailed that says at which step."""
    try:
        yield
    except WebServiceError as error:
        raise RemoteFailed(
            f"{name}, {step}: {error}", away=error.status is None or error.status in (429, 503, 504, 507)
        ) from error
    except DataSetError as error:
        raise RemoteFailed(f"{name}, {step}: answered with what cannot be read: {error}") from error
