"""Which pictures a rendered resource has, and in which media types (PS3.18 8.7.4, 10.4.1.1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from dicomwire.archive.archive import Archive, Stored
from dicomwire.dicom.attributes import Attributes, read_attributes
from dicomwire.dicom.codecs import CODECS, VIDEO
from dicomwire.dicom.encoding import encoding_of
from dicomwire.dicom.rendering import FILMS, GIF
from dicomwire.errors import DataSetError
from dicomwire.web.layout import inflated
from dicomwire.web.media_types import MULTIPART_RELATED, Accept, Wanted
from dicomwire.web.problems import Problem

STILLS: Final = ("image/jpeg", "image/png", "image/gif", "image/jp2", "image/jph", "image/jxl")
"""Media types of single pictures, the default first."""

ANIMATIONS: Final = (GIF, *FILMS)

MOST_FRAMES: Final = 100_000  # of one image, each a picture or a part of a film
_FRAGMENT: Final = 8  # bytes of an encapsulated frame at least: the item around it (PS3.5 A.4)

PRESENTATION_STATES: Final = frozenset(f"1.2.840.10008.5.1.4.1.1.11.{number}" for number in (1, 2, 3))
"""Grayscale, colour and pseudo-colour softcopy presentation states."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture.

    Attributes:
        stored: the image.
        numbers: its frames; more than one for an animation.
        state: a presentation state to apply.
    """

    stored: Stored
    numbers: tuple[int, ...]
    state: Stored | None = None


def whole(stored: Stored, state: Stored | None = None) -> Picture:
    """An image with all its frames: as many as its pixel data has room for, whatever Number of Frames says.

    Of a video the first, a still; all of them are the video itself.
    Raises: Problem 413, when they are too many for one answer.
    """
    if is_video(stored):
        return Picture(stored, (1,), state)
    if stored.pixel_data_length is None:
        room = stored.length // _FRAGMENT
    else:
        frame = (
            (stored.rows or 1) * (stored.columns or 1) * (stored.bits_allocated or 1)
        )  # bits, of one sample
        room = 8 * stored.pixel_data_length // frame
    count = max(min(stored.number_of_frames, room), 1)
    if count > MOST_FRAMES:
        raise Problem(413, f"the image has {count} frames; {MOST_FRAMES} at most are rendered together")
    return Picture(stored, tuple(range(1, count + 1)), state)


@dataclass(frozen=True, slots=True)
class Form:
    """How pictures leave."""

    multipart: bool
    media_type: str
    pictures: tuple[Picture, ...]

    @property
    def animated(self) -> bool:
        return any(len(picture.numbers) > 1 for picture in self.pictures)


def is_image(stored: Stored) -> bool:
    """It has pixels that can be decoded."""
    return bool(
        stored.rows
        and stored.columns
        and stored.pixel_data_offset is not None
        and (stored.transfer_syntax_uid in CODECS or is_video(stored))
    )


def is_video(stored: Stored) -> bool:
    """Its frames are one stream."""
    return stored.transfer_syntax_uid in VIDEO


def choose_form(
    accept: Accept,
    images: Sequence[Picture],
    *,
    frames: tuple[int, ...] | None = None,
    apart: bool = False,
) -> Form | None:
    """What answers a request; None when nothing that is accepted can.

    images: one for each image, with all its frames.
    frames: those that were asked for by number; None for a whole instance, series or study.
    apart: other parts go with them, so that even one picture is a part.
    """

    def offer(wanted: Wanted) -> Form | None:
        return _offer(replace(wanted, single=False) if apart else wanted, accept, images, frames)

    return accept.choose(offer)


def offered(images: Sequence[Picture], frames: tuple[int, ...] | None) -> list[str]:
    """Words for a 406."""
    kinds = [*STILLS, *FILMS] if any(len(one.numbers) > 1 for one in images) and not frames else list(STILLS)
    multipart = [f'{MULTIPART_RELATED}; type="{kind}"' for kind in kinds]
    if frames and len(frames) > 1:
        return [*ANIMATIONS, *multipart]
    return [*kinds, *multipart] if len(images) == 1 else multipart


def referenced(archive: Archive, state: Stored) -> list[Picture]:
    """The images that a presentation state is for, those that the archive has.

    Raises: Problem 404, when it has none of them.
    """
    pictures = []
    for uid, numbers in _references(archive, state):
        for stored in archive.plan(instance=uid):
            if is_image(stored):
                pictures.append(Picture(stored, numbers, state) if numbers else whole(stored, state))
    if not pictures:
        raise Problem(404, "the presentation state refers to no image that is stored here")
    return pictures


def _references(archive: Archive, state: Stored) -> list[tuple[str, tuple[int, ...]]]:
    with archive.open_stored(state) as opened:
        data = inflated(opened.view[state.data_set_offset :], state.transfer_syntax_uid)
        encoding = encoding_of(
            "" if encoding_of(state.transfer_syntax_uid).deflated else state.transfer_syntax_uid
        )
        try:
            attributes = read_attributes(data, encoding)
        except DataSetError as error:
            raise Problem(404, f"the presentation state cannot be read: {error}") from None
    return [
        (reference.text("ReferencedSOPInstanceUID"), _numbers(reference))
        for series in attributes.items("ReferencedSeriesSequence")
        for reference in series.items("ReferencedImageSequence")
        if reference.text("ReferencedSOPInstanceUID")
    ]


def _numbers(reference: Attributes) -> tuple[int, ...]:
    return tuple(int(number) for number in reference.numbers("ReferencedFrameNumber"))


def _offer(
    wanted: Wanted, accept: Accept, images: Sequence[Picture], frames: tuple[int, ...] | None
) -> Form | None:
    for media_type in (*STILLS, *FILMS):
        if not wanted.part.matches(media_type):
            continue
        pictures = _pictures(media_type, images, frames, alone=wanted.single)
        if len(pictures) == 1 and accept.allows(wanted, media_type, multipart=False):
            return Form(False, media_type, pictures)
        pictures = _pictures(media_type, images, frames, alone=False)
        if pictures and accept.allows(wanted, media_type, multipart=True):
            return Form(True, media_type, pictures)
    return None


def _pictures(
    media_type: str, images: Sequence[Picture], frames: tuple[int, ...] | None, *, alone: bool
) -> tuple[Picture, ...]:
    """The pictures of a media type; a film of one frame is none.

    alone: one picture has to stand for an image of several frames, if need be.
    """
    if frames is not None:
        image = images[0]
        if alone and len(frames) > 1 and media_type in ANIMATIONS:
            return (Picture(image.stored, frames, image.state),)
        chosen = tuple(Picture(image.stored, (number,), image.state) for number in frames)
        return () if media_type in FILMS else chosen
    if media_type in FILMS:
        return tuple(image for image in images if len(image.numbers) > 1)
    if media_type == GIF:
        return tuple(images)
    if alone:
        return tuple(Picture(image.stored, image.numbers[:1], image.state) for image in images)
    return tuple(
        Picture(image.stored, (number,), image.state) for image in images for number in image.numbers
    )
