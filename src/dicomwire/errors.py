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


class DataSetError(DecodeError):
    """A data set that cannot be read to its end (PS3.5 7)."""


class Part10Error(DecodeError):
    """A file that is not a DICOM file (PS3.10 7)."""


class MessageError(DicomwireError):
    """P-DATA fragments that do not make a DIMSE message (PS3.7 6.3, PS3.8 E)."""


class AssociationError(DicomwireError):
    """An association that could not be made or did not last."""


class NoAcceptedContext(AssociationError):
    """The peer accepted none of the presentation contexts."""


class ArchiveError(DicomwireError):
    """The archive cannot do what was asked."""


class QueryError(DicomwireError):
    """A query that cannot be answered: an unknown key, a value that is none of its kind."""


class ConfigurationError(DicomwireError):
    """A setting that is unknown or cannot be."""
