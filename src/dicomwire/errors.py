"""The tree of exceptions.

A message says what, where, got and wanted, and is enough, alone, to act on. What a peer sends is never an
exception that escapes: it becomes an event and the answer that the standard asks for.
"""


class DicomwireError(Exception):
    """Anything that dicomwire raises on purpose."""


class LocalProtocolError(DicomwireError):
    """Our own code asked for what the state of the protocol forbids."""


class DecodeError(DicomwireError):
    """Bytes that are not what they should be.

    Attributes:
        what: the thing being read and what is wrong with it.
        offset: byte offset in the buffer that was given.
        field: name of the field in the standard's words.
        section: section of the standard that says so.
    """

    def __init__(self, what: str, offset: int = 0, *, field: str = "", section: str = "") -> None:
        super().__init__(f"{what} (at byte {offset}{f', {section}' if section else ''})")
        self.what = what
        self.offset = offset
        self.field = field
        self.section = section


class CredentialsError(DecodeError):
    """A Kerberos ticket, SAML assertion or token that cannot be read (PS3.7 D.3.3.7)."""


class DataSetError(DecodeError):
    """A data set that cannot be read to its end (PS3.5 7)."""


class InvalidAttribute(DicomwireError):
    """An attribute as a value, or in DICOM JSON, that cannot be; the message begins with its tag."""


class Part10Error(DecodeError):
    """A file that is not a DICOM file (PS3.10 7)."""


class CaptureError(DecodeError):
    """A capture file that cannot be read, or not to its end; what came before the fault is still told."""


class MessageError(DicomwireError):
    """P-DATA fragments that do not make a DIMSE message (PS3.7 6.3, PS3.8 E)."""


class AssociationError(DicomwireError):
    """An association that could not be made or did not last."""


class ConnectionFailed(AssociationError):
    """No connection to the peer: an unknown host, no route, a port where nobody listens."""


class ConnectionRefused(ConnectionFailed):
    """The host answered that nobody listens on the port."""


class TLSFailed(ConnectionFailed):
    """The TLS handshake failed (RFC 8446, PS3.15 B)."""


class AssociationTimeout(AssociationError):
    """The peer did not answer in time.

    Attributes:
        step: what was waited for.
        seconds: how long.
    """

    def __init__(self, step: str, seconds: float) -> None:
        super().__init__(f"no {step} within {seconds:g} s")
        self.step = step
        self.seconds = seconds


class NoAcceptedContext(AssociationError):
    """The peer accepted none of the presentation contexts.

    Attributes:
        reasons: words for each context refused; empty where the peer rejected the association as a whole.
    """

    def __init__(self, message: str, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.reasons = reasons


class Rejected(AssociationError):
    """The peer answered A-ASSOCIATE-RJ (PS3.8 9.3.4).

    Attributes:
        result, source, reason: as received, the numbers of PS3.8 Table 9-21.
    """

    def __init__(self, message: str, *, result: int, source: int, reason: int) -> None:
        super().__init__(message)
        self.result = result
        self.source = source
        self.reason = reason


class AssociationEnded(AssociationError):
    """The association is over, and what was asked of it can no longer be done."""


class Aborted(AssociationEnded):
    """The association was aborted, by the peer or by us (PS3.8 9.3.8).

    Attributes:
        source, reason: as on the wire; source 0 is the service user, 2 the service provider.
    """

    def __init__(self, message: str, *, source: int, reason: int) -> None:
        super().__init__(message)
        self.source = source
        self.reason = reason


class ConnectionLost(AssociationEnded):
    """The transport connection went away without a release or an abort."""


class ArchiveError(DicomwireError):
    """The archive cannot do what was asked."""


class InstanceRemoved(ArchiveError):
    """An instance that was there when it was planned, and was removed since."""

    def __init__(self) -> None:
        super().__init__("the instance was removed")


class WorkError(DicomwireError):
    """The store of work cannot do what was asked."""


class TranscodingError(DicomwireError):
    """Pixel data that cannot be decoded, or not be encoded as wanted; the words say which and why."""


class CodecsMissing(TranscodingError):
    """The libraries that decode and encode images are not installed."""


class WorkersBusy(DicomwireError):
    """Too much is waiting for the worker processes already."""


class QueryError(DicomwireError):
    """A query that cannot be answered: an unknown key, a value that is none of its kind."""


class SearchError(DicomwireError):
    """A search that was given up: it would have to look at too much."""


class WebServiceError(DicomwireError):
    """A DICOMweb service that is not there, refuses, or answers what is none of the standard's answers.

    Attributes:
        status: HTTP status; None where there was no answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ConfigurationError(DicomwireError):
    """A setting that is unknown or cannot be."""


class TokenRefused(DicomwireError):
    """A token that proves nothing; the words say why without any part of it but names of claims."""


class OperationFailed(DicomwireError):
    """The peer answered a request with a failure (PS3.7 C).

    Attributes:
        status: of the response, as received.
        comment: the peer's Error Comment, "" where it gave none.
        offending_element: tags that the peer says are at fault.
    """

    def __init__(
        self, message: str, *, status: int, comment: str = "", offending_element: tuple[int, ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.comment = comment
        self.offending_element = offending_element
