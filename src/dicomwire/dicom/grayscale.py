"""The grayscale pipeline: modality, values of interest, presentation (PS3.3 C.11, C.7.6.3.1.2; PS3.4 N.2).

Up to 16 bits all of it becomes one table from cells to gray levels, made once for a series that is looked at;
an image then costs one look-up a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeAlias

import numpy
from numpy.typing import NDArray

from dicomwire.dicom.arrays import Array, levels_by_strips, samples_of, strips_of
from dicomwire.dicom.attributes import Attributes
from dicomwire.dicom.pixel_description import PixelDescription
from dicomwire.dicom.rendering import Window
from dicomwire.dicom.scratch import IN_MEMORY, Scratch

Gray: TypeAlias = NDArray[numpy.uint8]
Values: TypeAlias = NDArray[numpy.float64]

_TABLE_BITS: Final = 16  # largest cells that a table is made for
_FUNCTIONS: Final = {"LINEAR": "linear", "LINEAR_EXACT": "linear-exact", "SIGMOID": "sigmoid"}


@dataclass(frozen=True, slots=True)
class Table:
    """A look-up table of PS3.3 C.11.

    Attributes:
        first: value that the first entry is for.
        bits: of an entry.
        entries: little endian words.
    """

    first: int
    bits: int
    entries: bytes

    def __call__(self, values: Values) -> Values:
        entries = numpy.frombuffer(self.entries, "<u2")
        index = numpy.clip(values - self.first, 0, len(entries) - 1).astype(numpy.intp)
        return entries[index].astype(numpy.float64)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """From stored values to gray levels.

    Attributes:
        slope, intercept: of the modality transformation; not used where there is a table for it.
        window: None for the table of values of interest, or the whole range where there is none either.
        range: lowest and highest value, for neither window nor table; None for what the image's bits allow.
        inverted: low values are bright.
    """

    slope: float = 1.0
    intercept: float = 0.0
    modality: Table | None = None
    window: Window | None = None
    voi: Table | None = None
    range: tuple[float, float] | None = None
    presentation: Table | None = None
    inverted: bool = False

    @property
    def of_values(self) -> bool:
        """The range is that of the values which occur."""
        return self.window is None and self.voi is None and self.range is None

    def windowed(self, window: Window) -> Pipeline:
        """With this window in place of its own values of interest."""
        return replace(self, window=window, voi=None)


def pipeline_of(image: Attributes, number: int, state: Attributes | None = None) -> Pipeline:
    """What an image's attributes say of a frame, or a presentation state in their place.

    number: of the frame, from 1.
    """
    modality, voi = image, image
    shared = image.item("SharedFunctionalGroupsSequence")
    groups = image.items("PerFrameFunctionalGroupsSequence")
    own = groups[number - 1] if number <= len(groups) else shared
    for group in (own, shared):
        if group.has("PixelValueTransformationSequence"):
            modality = group.item("PixelValueTransformationSequence")
            break
    for group in (own, shared):
        if group.has("FrameVOILUTSequence"):
            voi = group.item("FrameVOILUTSequence")
            break
    inverted = image.text("PhotometricInterpretation") == "MONOCHROME1"
    shape = image.text("PresentationLUTShape")
    presentation: Table | None = None
    if state is not None:
        if state.has("ModalityLUTSequence") or state.has("RescaleSlope"):
            modality = state
        voi = softcopy_voi(state, image, number)
        shape = state.text("PresentationLUTShape") or "IDENTITY"
        presentation = _table(state.item("PresentationLUTSequence"))
        inverted = shape == "INVERSE"  # PS3.4 N.2.1.3: output is P-values, whatever the image was
    elif shape in ("INVERSE", "IDENTITY"):
        inverted = shape == "INVERSE"
    slope, intercept = modality.number("RescaleSlope"), modality.number("RescaleIntercept")
    table = _table(modality.item("ModalityLUTSequence"))
    return Pipeline(
        slope=slope if slope else 1.0,
        intercept=intercept or 0.0,
        modality=table,
        window=window_of(voi),
        voi=_table(voi.item("VOILUTSequence")),
        presentation=presentation,
        inverted=inverted,
    )


def softcopy_voi(state: Attributes, image: Attributes, number: int) -> Attributes:
    """The item of the state's values of interest that is for an image (PS3.3 C.11.8)."""
    uid = image.text("SOPInstanceUID")
    for item in state.items("SoftcopyVOILUTSequence"):
        references = item.items("ReferencedImageSequence")
        for reference in references:
            frames = reference.numbers("ReferencedFrameNumber")
            if reference.text("ReferencedSOPInstanceUID") == uid and (not frames or number in frames):
                return item
        if not references:
            return item
    return Attributes()


def window_of(attributes: Attributes) -> Window | None:
    """The first window of a module; None where it has none that can be."""
    center, width = attributes.number("WindowCenter"), attributes.number("WindowWidth")
    if center is None or width is None or width <= 0:
        return None
    function = _FUNCTIONS.get(attributes.text("VOILUTFunction"), "linear")
    if function == "linear" and width < 1:
        function = "linear-exact"  # floating point images have such windows
    return Window(center, width, function)


def render_gray(
    cells: Array,
    description: PixelDescription,
    pipeline: Pipeline,
    *,
    padding: float | None = None,
    scratch: Scratch = IN_MEMORY,
) -> Gray:
    """Gray levels of one frame, of shape (rows, columns).

    padding: value of pixels that were never imaged; they do not count for the range.
    """
    flat = cells[..., 0]
    if description.bits_allocated == 1:
        bright, dark = (0, 255) if pipeline.inverted else (255, 0)
        return levels_by_strips(
            flat, lambda strip: numpy.where(strip, numpy.uint8(bright), numpy.uint8(dark)), scratch=scratch
        )
    if pipeline.of_values:
        pipeline = replace(pipeline, range=_range(flat, description, pipeline, padding))
    if description.is_float or description.bits_allocated > _TABLE_BITS:
        return levels_by_strips(
            flat, lambda strip: _levels(_numbers(strip, description), pipeline), scratch=scratch
        )
    key = (description.bits_allocated, description.bits_stored, description.high_bit, description.signed)
    return levels_by_strips(flat, _look_up(*key, pipeline).take, scratch=scratch)


def _numbers(cells: Array, description: PixelDescription) -> Values:
    """Stored values, floating point or whole."""
    if description.is_float:
        return cells.view(f"<f{description.bits_allocated // 8}").astype(numpy.float64)
    return samples_of(cells, description).astype(numpy.float64)


@lru_cache(maxsize=64)
def _look_up(allocated: int, stored: int, high_bit: int, signed: bool, pipeline: Pipeline) -> Gray:
    """Gray level of each cell that there can be."""
    cells = numpy.arange(1 << allocated, dtype=f"<u{allocated // 8}")
    one = PixelDescription(1, 1, 1, "", 0, allocated, stored, high_bit, int(signed))
    return _levels(samples_of(cells, one).astype(numpy.float64), pipeline)


def has_range_of_bits(description: PixelDescription, pipeline: Pipeline) -> bool:
    """Of an image without values of interest: black is 0 and white is 255, whatever occurs."""
    plain = pipeline.modality is None and pipeline.slope == 1 and pipeline.intercept == 0
    return description.bits_stored == 8 and plain and not description.signed and not description.is_float


def _range(
    flat: Array, description: PixelDescription, pipeline: Pipeline, padding: float | None
) -> tuple[float, float]:
    """The range of an image without values of interest: its bits' for 8 bits, else of what occurs."""
    if has_range_of_bits(description, pipeline):
        return 0.0, 255.0
    ends = [_ends(strip, description, padding) for _, strip in strips_of(flat)]
    values = numpy.array([end for pair in ends for end in pair], numpy.float64)
    if not values.size:
        return 0.0, 1.0 if description.is_float else 0.0
    values = _modality(values, pipeline)
    return float(values.min()), float(values.max())


def _ends(strip: Array, description: PixelDescription, padding: float | None) -> Sequence[float]:
    """The lowest and the highest value of some rows, if they have any."""
    if description.is_float:
        numbers = strip.view(f"<f{description.bits_allocated // 8}")
        kept = numbers[numpy.isfinite(numbers)]
    else:
        numbers = samples_of(strip, description)
        kept = numbers if padding is None else numbers[numbers != padding]
    return (float(kept.min()), float(kept.max())) if kept.size else ()


def _modality(values: Values, pipeline: Pipeline) -> Values:
    if pipeline.modality is not None:
        return pipeline.modality(values)
    return values * pipeline.slope + pipeline.intercept


def _levels(values: Values, pipeline: Pipeline) -> Gray:
    """The whole pipeline, to 0 to 255."""
    values = _modality(values, pipeline)
    if pipeline.window is not None:
        shares = _windowed(values, pipeline.window)
    elif pipeline.voi is not None:
        shares = pipeline.voi(values) / ((1 << pipeline.voi.bits) - 1)
    else:
        low, high = pipeline.range or (0.0, 1.0)
        shares = (values - low) / (high - low) if high > low else numpy.zeros_like(values)
    shares = numpy.clip(numpy.nan_to_num(shares), 0.0, 1.0)
    if (table := pipeline.presentation) is not None:
        count = len(table.entries) // 2
        shares = table(table.first + shares * (count - 1)) / ((1 << table.bits) - 1)
        shares = numpy.clip(shares, 0.0, 1.0)
    if pipeline.inverted:
        shares = 1.0 - shares
    return (shares * 255.0 + 0.5).astype(numpy.uint8)


def _windowed(values: Values, window: Window) -> Values:
    """Shares of the range by a window (PS3.3 C.11.2.1.2, C.11.2.1.3)."""
    center, width = window.center, window.width
    if window.function == "sigmoid":
        return 1.0 / (1.0 + numpy.exp(numpy.clip(-4.0 * (values - center) / width, -700, 700)))
    if window.function == "linear-exact":
        return (values - center) / width + 0.5
    if width <= 1:
        return (values > center - 0.5).astype(numpy.float64)
    return (values - (center - 0.5)) / (width - 1) + 0.5


def _table(item: Attributes) -> Table | None:
    """A table of PS3.3 C.11.1.1.1; None where there is none that can be."""
    descriptor, entries = item.words("LUTDescriptor"), item.octets("LUTData")
    if len(descriptor) < 3 or not entries:
        return None
    count, first, bits = descriptor[0] or 1 << 16, descriptor[1], descriptor[2]
    if first > 0x7FFF:
        first -= 1 << 16  # of signed values; unsigned ones do not begin that high
    if len(entries) < 2 * count and len(entries) >= count:  # bytes, packed against the standard
        entries = numpy.frombuffer(entries, numpy.uint8, count).astype("<u2").tobytes()
    return Table(first, min(max(bits, 1), 16), entries[: 2 * count]) if len(entries) >= 2 else None
