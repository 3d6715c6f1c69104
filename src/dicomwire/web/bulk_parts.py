"""Bulk data in the parts of a store request: what their media types say they are (PS3.18 10.5.1.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from dicomwire.dicom import raster
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dicomwire.web.documents import ENCAPSULATED
from dicomwire.web.frame_forms import FRAME_MEDIA_TYPES
from dicomwire.web.media_types import OCTET_STREAM, MediaType
from dicomwire.web.problems import Problem, shown

Span: TypeAlias = tuple[int, int]
"""Offset and length within the content."""

# What a media type without a transfer-syntax stands for: the defaults of PS3.18 Table 8.7.3-5
_DEFAULT_SYNTAXES: Final = {
    "image/jpeg": "1.2.840.10008.1.2.4.70",
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jpx": "1.2.840.10008.1.2.4.92",
    "image/jphc": "1.2.840.10008.1.2.4.201",
    "image/jph": "1.2.840.10008.1.2.4.201",
    "image/jxl": "1.2.840.10008.1.2.4.110",
    "video/mpeg": "1.2.840.10008.1.2.4.101",
    "video/mp4": "1.2.840.10008.1.2.4.102",
    "video/h265": "1.2.840.10008.1.2.4.107",
}
PROBED: Final = frozenset({"image/jxl", "video/mpeg", "video/mp4", "video/h265"})
"""Media types that a codec has to look at to say what the pixels are."""

_UNCOMPRESSED: Final = frozenset({OCTET_STREAM, *raster.MEDIA_TYPES, *ENCAPSULATED.values()})


@dataclass(slots=True)
class Bulk:
    """What came under one URI.

    Attributes:
        media_type: without its parameters.
        syntax: transfer syntax of its media type.
        named: the client said so; otherwise it is the media type's default.
        spans: where its parts lie in the content, in the order of the parts.
    """

    media_type: str
    syntax: str
    named: bool
    spans: list[Span] = field(default_factory=list)

    @property
    def encapsulated(self) -> bool:
        return self.syntax != EXPLICIT_VR_LITTLE_ENDIAN

    @property
    def raster(self) -> bool:
        """It has to be transformed, for want of a transfer syntax (PS3.18 Table 10.5.2-1)."""
        return self.media_type in raster.MEDIA_TYPES

    @property
    def document(self) -> bool:
        """It is the value of Encapsulated Document and of nothing else."""
        return self.media_type not in (OCTET_STREAM, *raster.MEDIA_TYPES) and not self.encapsulated

    @property
    def length(self) -> int:
        return sum(length for _, length in self.spans)


def bulk_of(media_type: MediaType) -> Bulk:
    """What bulk data of a media type are, without any yet. Raises: Problem 415."""
    essence = media_type.essence
    named = media_type.parameter("transfer-syntax")
    syntax = named or _DEFAULT_SYNTAXES.get(essence)
    if essence in _UNCOMPRESSED and syntax in (None, EXPLICIT_VR_LITTLE_ENDIAN):
        return Bulk(essence, EXPLICIT_VR_LITTLE_ENDIAN, named is not None)
    stored = "image/jphc" if essence == "image/jph" else essence  # the same in the boxes of a file
    if syntax is None or FRAME_MEDIA_TYPES.get(syntax, OCTET_STREAM) != stored:
        words = f" with transfer-syntax {shown(syntax)}" if syntax else ""
        raise Problem(
            415,
            f"a part is {shown(essence)}{words}; metadata, octets, an image's, a video's or an encapsulated"
            " document's type wanted",
        )
    return Bulk(essence, syntax, named is not None)
