"""Bulk data: which value of a data set a URI names, and where it lies (PS3.18 F.2.6, 10.4.1.1.5).

A path names an element by tags and item numbers in turn: 7FE00010, or 54000100/0/54001010 for the waveform
data of the first item. Items count from 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from dicomwire.dicom.context import DECIDING, PIXEL_REPRESENTATION, Context
from dicomwire.dicom.deflate import INFLATE_LIMIT, inflate
from dicomwire.dicom.elements import Kind, elements
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, Buffer, encoding_of
from dicomwire.dicom.scan import scan

Path: TypeAlias = tuple[int, ...]
"""Tags at even positions, item numbers at odd ones."""

_PATH: Final = re.compile(r"[0-9A-Fa-f]{8}(?:/[0-9]{1,9}/[0-9A-Fa-f]{8}){0,64}")


@dataclass(frozen=True, slots=True)
class BulkData:
    """A value that is not written into the JSON.

    Attributes:
        path: where it is within the data set.
        vr: its VR, resolved.
        offset: first byte of the value in the (inflated) data set; when encapsulated, of the first item.
        length: bytes of the value; when encapsulated, of all items and the delimitation item.
        encapsulated: the value is fragments.
        little_endian: byte order of the value.
    """

    path: Path
    vr: str
    offset: int
    length: int
    encapsulated: bool
    little_endian: bool

    @property
    def tag(self) -> int:
        return self.path[-1]


def format_path(path: Path) -> str:
    """A path as text for a URI."""
    return "/".join(f"{part:08X}" if index % 2 == 0 else str(part) for index, part in enumerate(path))


def parse_path(text: str) -> Path | None:
    """The path that a URI's text names; None when it is none."""
    if _PATH.fullmatch(text) is None:
        return None
    return tuple(int(part, 10 if index % 2 else 16) for index, part in enumerate(text.split("/")))


def locate(
    data: Buffer, transfer_syntax_uid: str, path: Path, *, inflate_limit: int = INFLATE_LIMIT
) -> BulkData | None:
    """Where the value lies that a path names; None when the data set has no such value, or it is a sequence.

    data: the data set. The offset returned counts in the inflated data set where the syntax is deflated.
    Raises: DataSetError, when the data set cannot be read as far as the value.
    """
    encoding = encoding_of(transfer_syntax_uid)
    if encoding.deflated:
        data, encoding = inflate(data, inflate_limit), EXPLICIT_LITTLE
    root = 0 if encoding.explicit else scan(data, transfer_syntax_uid).integer(PIXEL_REPRESENTATION) or 0
    contexts = [Context(root)]
    here: list[int] = []  # tags and item numbers of the open sequences
    for kind, tag, vr, start, end, element_encoding in elements(data, encoding):
        if kind is Kind.VALUE or kind is Kind.ENCAPSULATED:
            if tag == path[-1] and (*here, tag) == path:
                encapsulated = kind is Kind.ENCAPSULATED
                if not vr or vr == "UN":
                    vr = contexts[-1].vr(tag, encapsulated=encapsulated)
                return BulkData(path, vr, start, end - start, encapsulated, element_encoding.little_endian)
            if tag in DECIDING:
                contexts[-1].observe(tag, bytes(data[start:end]), element_encoding)
        elif kind is Kind.SEQUENCE:
            here += (tag, -1)
        elif kind is Kind.ITEM:
            here[-1] += 1
            contexts.append(contexts[-1].item())
        elif kind is Kind.ITEM_END:
            contexts.pop()
        else:
            del here[-2:]
    return None
