"""Identifiers of C-FIND, C-MOVE and C-GET: collected from the wire and read (PS3.4 C.4.1.1.3, C.4.2.1.4).

Written, too: the Identifier of a retrieval's answer, which lists the instances that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dicomwire.dicom.charset import character_set
from dicomwire.dicom.convert import header
from dicomwire.dicom.deflate import inflate
from dicomwire.dicom.dictionary import TAGS, vr_of
from dicomwire.dicom.elements import Kind, elements
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, encoding_of
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dicom.values import STRING_VRS, Decoder

LIMIT: Final = 1 << 20  # bytes of an Identifier; 15,000 UIDs of the longest kind
QUERY_RETRIEVE_LEVEL: Final = TAGS["QueryRetrieveLevel"]
FAILED_SOP_INSTANCE_UID_LIST: Final = TAGS["FailedSOPInstanceUIDList"]


class Collector:
    """The Identifier of one request as it comes; a sink.

    What is beyond the limit is read past, so that the association lives on.
    """

    __slots__ = ("_data", "_limit", "_whole")

    def __init__(
        self, whole: Callable[[bytes | None], Coroutine[None, None, None]], limit: int = LIMIT
    ) -> None:
        """Collect what comes.

        Args:
            whole: gets the Identifier's bytes, None where they are more than `limit`.
        """
        self._data: bytearray | None = bytearray()
        self._limit = limit
        self._whole = whole

    def write(self, data: memoryview) -> None:
        """Take the next bytes."""
        if self._data is None or len(self._data) + len(data) > self._limit:
            self._data = None
        else:
            self._data += data

    def finish(self) -> Coroutine[None, None, None]:
        """All has come: perform the request."""
        return self._whole(None if self._data is None else bytes(self._data))

    def abort(self, reason: str) -> None:
        """The rest will never come."""
        self._data = None


@dataclass(frozen=True, slots=True)
class Identifier:
    """The elements of an Identifier, but for those within sequences.

    Attributes:
        values: raw value of each element.
        decoder: of these values.
    """

    values: Mapping[int, bytes]
    decoder: Decoder

    @property
    def level(self) -> str:
        """Query/Retrieve Level (0008,0052), "" where it is missing."""
        levels = self.texts(QUERY_RETRIEVE_LEVEL)
        return levels[0] if levels else ""

    def texts(self, tag: int) -> list[str]:
        """The values of a string element; none where it is missing, empty or of another kind."""
        vr, value = vr_of(tag), self.values.get(tag, b"")
        return [text for text in self.decoder.texts(vr, value) if text] if vr in STRING_VRS else []


def read(data: bytes, transfer_syntax_uid: str) -> Identifier:
    """The elements of an Identifier.

    Raises: DataSetError, when it cannot be read to its end.
    """
    encoding = encoding_of(transfer_syntax_uid)
    if encoding.deflated:
        data, encoding = bytes(inflate(data, LIMIT)), EXPLICIT_LITTLE
    values: dict[int, bytes] = {}
    depth = 0
    for kind, tag, _, start, end, _ in elements(data, encoding):
        if kind is Kind.VALUE and not depth:
            values.setdefault(tag, data[start:end])
        else:
            depth += (kind is Kind.SEQUENCE) - (kind is Kind.SEQUENCE_END)
    return Identifier(values, Decoder(character_set(values.get(SPECIFIC_CHARACTER_SET, b"")), encoding))


def failed_instances(sop_instance_uids: Sequence[str], transfer_syntax_uid: str) -> bytes:
    """An Identifier with nothing but Failed SOP Instance UID List (0008,0058) (PS3.4 C.4.2.1.4.2).

    Where explicit VR's 16-bit length does not hold them all, the element is written as UN (PS3.5 6.2.2).
    """
    value = "\\".join(sop_instance_uids).encode("ascii", "replace")
    value += b"\0" * (len(value) & 1)
    return header(FAILED_SOP_INSTANCE_UID_LIST, "UI", len(value), encoding_of(transfer_syntax_uid)) + value
