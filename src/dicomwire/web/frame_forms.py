"""The ways in which an instance's frames can leave, and which of them a client gets (PS3.18 8.7.3.3).

Chosen before any pixel is read, from the stored transfer syntax and what it can become.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, NamedTuple

from dicomwire.archive.archive import Stored
from dicomwire.archive.transcoder import Transcoder
from dicomwire.dicom import codecs
from dicomwire.dicom.codecs import CODECS, LOSSY, lossless_targets
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES
from dicomwire.web.media_types import MULTIPART_RELATED, OCTET_STREAM, Accept, Wanted

# PS3.18 Table 8.7.3-5; the retired JPEG processes are image/jpeg too
FRAME_MEDIA_TYPES: Final = {
    **{f"1.2.840.10008.1.2.4.{process}": "image/jpeg" for process in range(50, 67)},
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.4.110": "image/jxl",
    "1.2.840.10008.1.2.4.111": "image/jxl",
    "1.2.840.10008.1.2.4.112": "image/jxl",
    "1.2.840.10008.1.2.4.100": "video/mpeg",
    "1.2.840.10008.1.2.4.100.1": "video/mpeg",
    "1.2.840.10008.1.2.4.101": "video/mpeg",
    "1.2.840.10008.1.2.4.101.1": "video/mpeg",
    "1.2.840.10008.1.2.4.102": "video/mp4",
    "1.2.840.10008.1.2.4.102.1": "video/mp4",
    "1.2.840.10008.1.2.4.103": "video/mp4",
    "1.2.840.10008.1.2.4.103.1": "video/mp4",
    "1.2.840.10008.1.2.4.104": "video/mp4",
    "1.2.840.10008.1.2.4.104.1": "video/mp4",
    "1.2.840.10008.1.2.4.105": "video/mp4",
    "1.2.840.10008.1.2.4.105.1": "video/mp4",
    "1.2.840.10008.1.2.4.106": "video/mp4",
    "1.2.840.10008.1.2.4.106.1": "video/mp4",
    "1.2.840.10008.1.2.4.107": "video/h265",
    "1.2.840.10008.1.2.4.108": "video/h265",
}

# What a media type without a transfer-syntax parameter means (PS3.18 Table 8.7.3-5)
_DEFAULTS: Final = frozenset(
    {
        codecs.JPEG_LOSSLESS_SV1,
        codecs.RLE_LOSSLESS,
        codecs.JPEG_LS_LOSSLESS,
        codecs.JPEG_2000_LOSSLESS,
        codecs.JPEG_2000_PART_2_LOSSLESS,
        codecs.HTJ2K_LOSSLESS,
        codecs.JPEG_XL_LOSSLESS,
        codecs.JPEG_XL_RECOMPRESSION,
    }
)


@dataclass(frozen=True, slots=True)
class _Representation:
    """One way in which the frames of an instance can leave.

    Attributes:
        asked: transfer-syntax parameters that ask for it; None stands for none.
    """

    media_type: str
    transfer_syntax: str
    asked: tuple[str | None, ...]

    @property
    def is_native(self) -> bool:
        return self.transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN


class FramesKind(NamedTuple):
    """What the representations of an instance's frames depend on."""

    transfer_syntax_uid: str
    bits_allocated: int | None
    has_pixel_data: bool
    codecs_available: bool


@dataclass(frozen=True, slots=True)
class FramesForm:
    """How frames leave.

    Attributes:
        joined: all of an instance as one value, as uncompressed pixel data are (PS3.18 8.7.3.3).
    """

    multipart: bool
    media_type: str
    transfer_syntax: str
    joined: bool = False

    @property
    def content_type(self) -> str:
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax}"


def _is_encapsulated(transfer_syntax_uid: str) -> bool:
    syntax = TRANSFER_SYNTAXES.get(transfer_syntax_uid)
    return syntax is not None and syntax.encapsulated


def syntax_of_frames(stored: Stored) -> str:
    """The transfer syntax in which frames are slices of what is stored."""
    own = stored.transfer_syntax_uid
    return own if _is_encapsulated(own) else EXPLICIT_VR_LITTLE_ENDIAN


def kind_of(stored: Stored, transcoder: Transcoder) -> FramesKind:
    """What the representations of an instance's frames depend on."""
    has_pixel_data = stored.pixel_data_offset is not None
    return FramesKind(stored.transfer_syntax_uid, stored.bits_allocated, has_pixel_data, transcoder.available)


def as_stored(stored: Stored) -> FramesForm:
    """The form in which the frames of an instance are stored, in parts."""
    own = syntax_of_frames(stored)
    return FramesForm(True, FRAME_MEDIA_TYPES.get(own, OCTET_STREAM), own)


def compressed(wanted: Wanted, kind: FramesKind) -> list[FramesForm]:
    """The compressed forms that a range of Accept leaves."""
    return [
        FramesForm(wanted.multipart, one.media_type, one.transfer_syntax)
        for one in _representations(kind)
        if one.media_type != OCTET_STREAM
        and wanted.part.matches(one.media_type)
        and wanted.transfer_syntax in one.asked
    ]


@lru_cache(maxsize=1024)
def chosen(accept: Accept, kind: FramesKind, *, single: bool, joined: bool) -> FramesForm | None:
    """The form that Accept likes best; None where it takes none of them.

    single: there is one frame. joined: uncompressed frames are one value.
    """
    found = _representations(kind)
    return accept.choose(lambda wanted: _offer(wanted, accept, found, single=single, joined=joined))


def offered(kind: FramesKind, *, single: bool, joined: bool) -> list[str]:
    """The media types of what there is, for a 406; otherwise as `chosen`."""
    offered = []
    for one in _representations(kind):
        parameter = "" if None in one.asked else f"; transfer-syntax={one.transfer_syntax}"
        offered.append(f'{MULTIPART_RELATED}; type="{one.media_type}"{parameter}')
        if single or (joined and one.is_native):
            offered.append(one.media_type + parameter)
    return offered


@lru_cache(maxsize=256)
def _representations(kind: FramesKind) -> list[_Representation]:
    """What there is, the nearest to what is stored first."""
    own, bits_allocated, has_pixel_data, codecs_available = kind
    targets: list[str] = []
    if codecs_available:
        targets = lossless_targets(own, bits_allocated=bits_allocated, has_pixel_data=has_pixel_data)
    native = _Representation(OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN, (None, "*", EXPLICIT_VR_LITTLE_ENDIAN))
    found: list[_Representation] = []
    if not _is_encapsulated(own):
        found.append(native)
    else:
        if media_type := FRAME_MEDIA_TYPES.get(own):
            found.append(_Representation(media_type, own, (None, "*", own)))
        # Octets are uncompressed unless a transfer syntax is asked for; Cornerstone3D always asks for "*"
        found.append(_Representation(OCTET_STREAM, own, ("*", own)))
        if EXPLICIT_VR_LITTLE_ENDIAN in targets:
            found.append(replace(native, asked=(None, EXPLICIT_VR_LITTLE_ENDIAN)))
    for uid in targets:
        media_type = FRAME_MEDIA_TYPES.get(uid)
        if uid == own or media_type is None:
            continue
        default = uid in _DEFAULTS and all(one.media_type != media_type for one in found)
        found.append(_Representation(media_type, uid, (None, "*", uid) if default else (uid,)))
    if codecs_available and own in CODECS:
        found += [
            _Representation(FRAME_MEDIA_TYPES[uid], uid, (uid,))
            for uid, allocated in LOSSY.items()
            if uid not in targets and bits_allocated in allocated
        ]
    return found


def _offer(
    wanted: Wanted,
    accept: Accept,
    representations: Sequence[_Representation],
    *,
    single: bool,
    joined: bool,
) -> FramesForm | None:
    for one in representations:
        media_type = one.media_type
        if wanted.transfer_syntax not in one.asked:
            continue
        as_one = joined and one.is_native
        if accept.allows(wanted, media_type, multipart=True):
            return FramesForm(True, media_type, one.transfer_syntax, as_one)
        if (single or as_one) and accept.allows(wanted, media_type, multipart=False):
            return FramesForm(False, media_type, one.transfer_syntax, as_one)
    return None
