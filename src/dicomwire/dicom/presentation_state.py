"""Softcopy presentation states applied to a rendered frame (PS3.3 C.10.4-C.10.6, C.11.12; PS3.4 N.2).

Shutters, overlays, the displayed area, rotation and flip, graphic and text annotations. Gray levels are the
grayscale pipeline's. Annotations are drawn behind the spatial transformation, so that text stays upright.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import numpy
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dicomwire.dicom.attributes import Attributes
from dicomwire.dicom.grayscale import Gray

Point: TypeAlias = tuple[float, float]
_EDGES: Final = ("LeftVerticalEdge", "RightVerticalEdge", "UpperHorizontalEdge", "LowerHorizontalEdge")
_MOST_OBJECTS: Final = 10_000  # annotations drawn on one image
_FARTHEST: Final = 100_000.0  # pixels
_ELLIPSE_STEPS: Final = 72


def present(levels: Gray, image: Attributes, number: int, state: Attributes) -> Gray:
    """A frame as its presentation state has it.

    levels: gray or RGB, of shape (rows, columns) or (rows, columns, 3).
    number: of the frame, from 1.
    """
    rows, columns = levels.shape[:2]
    levels = _overlaid(_shuttered(levels, state), image, number, state)
    left, top, right, bottom = _displayed_area(image, number, state, rows, columns)
    levels = levels[top:bottom, left:right]
    turns = int(state.number("ImageRotation") or 0) // 90 % 4
    mirrored = state.text("ImageHorizontalFlip") == "Y"
    turned = numpy.rot90(levels, -turns)
    if mirrored:
        turned = turned[:, ::-1]
    turned = numpy.ascontiguousarray(turned)
    height, width = levels.shape[:2]

    def place(point: Point) -> Point:
        """Where a pixel of the image, counted from 1, lies in the result."""
        x, y = point[0] - 0.5 - left, point[1] - 0.5 - top
        w, h = float(width), float(height)
        for _ in range(turns):
            x, y, w, h = h - y, x, h, w
        return (w - x if mirrored else x), y

    return _annotated(turned, image, number, state, place)


def _shuttered(levels: Gray, state: Attributes) -> Gray:
    """Pixels outside of the display shutter get its value (PS3.3 C.7.6.11)."""
    shapes = state.texts("ShutterShape")
    if not shapes:
        return levels
    rows, columns = levels.shape[:2]
    y, x = numpy.ogrid[1 : rows + 1, 1 : columns + 1]
    shown = numpy.ones((rows, columns), bool)
    if "RECTANGULAR" in shapes:
        left, right, upper, lower = (state.number(f"Shutter{side}") for side in _EDGES)
        shown &= (x > (left or 0)) & (x < (columns + 1 if right is None else right))
        shown &= (y > (upper or 0)) & (y < (rows + 1 if lower is None else lower))
    center, radius = state.numbers("CenterOfCircularShutter"), state.number("RadiusOfCircularShutter")
    if "CIRCULAR" in shapes and len(center) >= 2 and radius:
        shown &= (y - center[0]) ** 2 + (x - center[1]) ** 2 <= radius**2
    vertices = state.numbers("VerticesOfThePolygonalShutter")
    if "POLYGONAL" in shapes and len(vertices) >= 6:
        mask = Image.new("1", (columns, rows))
        points = [(x_ - 1, y_ - 1) for y_, x_ in zip(vertices[::2], vertices[1::2], strict=False)]
        ImageDraw.Draw(mask).polygon(points, fill=1, outline=1)
        shown &= numpy.asarray(mask)
    value = int(state.number("ShutterPresentationValue") or 0) >> 8 & 0xFF
    covered = levels.copy()
    covered[~shown] = value
    return covered


def _overlaid(levels: Gray, image: Attributes, number: int, state: Attributes) -> Gray:
    """Overlays that the state activates, its own before the image's, in white (PS3.3 C.9.2, C.11.7)."""
    drawn = levels
    for group in range(0x60000000, 0x60200000, 0x20000):
        if not state.text(group | 0x1001):
            continue
        source = state if state.has(group | 0x3000) else image
        mask = _overlay(source, group, number)
        if mask is None:
            continue
        origin = source.numbers(group | 0x0050) or [1.0, 1.0]
        top, left = int(origin[0]) - 1, int(origin[-1]) - 1
        rows = range(max(top, 0), min(top + mask.shape[0], levels.shape[0]))
        columns = range(max(left, 0), min(left + mask.shape[1], levels.shape[1]))
        if not rows or not columns:
            continue
        drawn = levels.copy() if drawn is levels else drawn
        part = mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        drawn[rows.start : rows.stop, columns.start : columns.stop][part] = 255
    return drawn


def _overlay(source: Attributes, group: int, number: int) -> NDArray[numpy.bool_] | None:
    """The plane of a frame; None where there is none."""
    rows, columns = (int(source.number(group | element) or 0) for element in (0x0010, 0x0011))
    data = source.octets(group | 0x3000)
    frames = int(source.number(group | 0x0015) or 1)
    first = int(source.number(group | 0x0051) or 1)
    index = number - first if frames > 1 else 0
    start, count = index * rows * columns, rows * columns
    if not count or not 0 <= index < frames or len(data) * 8 < start + count:
        return None
    octets = numpy.frombuffer(data, numpy.uint8)[start // 8 : (start + count + 7) // 8]
    bits = numpy.unpackbits(octets, bitorder="little")[start % 8 : start % 8 + count]
    return bits.reshape(rows, columns).astype(numpy.bool_)


def _displayed_area(
    image: Attributes, number: int, state: Attributes, rows: int, columns: int
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is shown, within the image (PS3.3 C.10.4)."""
    for item in _displayed_areas(image, number, state):
        first = item.numbers("DisplayedAreaTopLeftHandCorner")
        last = item.numbers("DisplayedAreaBottomRightHandCorner")
        if len(first) >= 2 and len(last) >= 2:
            xs, ys = sorted((first[0], last[0])), sorted((first[1], last[1]))
            left, top = max(int(xs[0]) - 1, 0), max(int(ys[0]) - 1, 0)
            right, bottom = min(int(xs[1]), columns), min(int(ys[1]), rows)
            if left < right and top < bottom:
                return left, top, right, bottom
    return 0, 0, columns, rows


def _displayed_areas(image: Attributes, number: int, state: Attributes) -> Iterator[Attributes]:
    """The items for a frame."""
    return (item for item in state.items("DisplayedAreaSelectionSequence") if _concerns(item, image, number))


def magnification(image: Attributes, number: int, state: Attributes) -> float | None:
    """How many pixels a pixel becomes; None where the size is left to the display (PS3.3 C.10.4)."""
    item = next(_displayed_areas(image, number, state), None)
    if item is None or item.text("PresentationSizeMode") != "MAGNIFY":
        return None
    return item.number("PresentationPixelMagnificationRatio") or None


def _concerns(item: Attributes, image: Attributes, number: int) -> bool:
    """An item names this image and frame, or none."""
    references = item.items("ReferencedImageSequence")
    uid = image.text("SOPInstanceUID")
    for reference in references:
        frames = reference.numbers("ReferencedFrameNumber")
        if reference.text("ReferencedSOPInstanceUID") == uid and (not frames or number in frames):
            return True
    return not references


def _annotated(
    levels: Gray, image: Attributes, number: int, state: Attributes, place: Callable[[Point], Point]
) -> Gray:
    layers = [
        item
        for item in state.items("GraphicAnnotationSequence")
        if _concerns(item, image, number)
        and (item.items("GraphicObjectSequence") or item.items("TextObjectSequence"))
    ]
    if not layers:
        return levels
    height, width = levels.shape[:2]
    picture = Image.fromarray(levels)
    draw = _Pen(ImageDraw.Draw(picture), (255, 255, 255) if levels.ndim == 3 else 255, min(width, height))

    def display(point: Point) -> Point:
        return point[0] * width, point[1] * height

    for layer in layers:
        for graphic in layer.items("GraphicObjectSequence")[:_MOST_OBJECTS]:
            units = graphic.text("GraphicAnnotationUnits")
            draw.graphic(graphic, display if units == "DISPLAY" else place)
        for text in layer.items("TextObjectSequence")[:_MOST_OBJECTS]:
            draw.text(text, place, display)
    return numpy.asarray(picture)


class _Pen:
    """Draws annotations in one colour."""

    def __init__(self, draw: ImageDraw.ImageDraw, ink: int | tuple[int, int, int], size: int) -> None:
        self._draw = draw
        self._ink = ink
        self._width = max(1, size // 512)
        self._font = ImageFont.load_default(max(10, size // 32))

    def graphic(self, graphic: Attributes, place: Callable[[Point], Point]) -> None:
        """A point, polyline, interpolated line, circle or ellipse (PS3.3 C.10.5.1.2)."""
        numbers = graphic.numbers("GraphicData")
        points = list(zip(numbers[::2], numbers[1::2], strict=False))
        kind = graphic.text("GraphicType")
        filled = graphic.text("GraphicFilled") == "Y"
        if kind == "POINT" and points:
            x, y = _near(place(points[0]))
            radius = 2 * self._width
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=self._ink)
            return
        if kind == "CIRCLE" and len(points) >= 2:
            (x, y), (edge_x, edge_y) = points[:2]
            radius_ = ((edge_x - x) ** 2 + (edge_y - y) ** 2) ** 0.5
            points = _ellipse((x, y), (radius_, 0), (0, radius_))
        elif kind == "ELLIPSE" and len(points) >= 4:
            points = _ellipse_by_axes(points)
        placed = [_near(place(point)) for point in points]
        if len(placed) < 2:
            return
        if filled and len(placed) > 2:
            self._draw.polygon(placed, fill=self._ink)
        else:
            self._draw.line(placed, fill=self._ink, width=self._width, joint="curve")

    def text(
        self, text: Attributes, place: Callable[[Point], Point], display: Callable[[Point], Point]
    ) -> None:
        """A text in its box or at its anchor, with a line to what it is about (PS3.3 C.10.5.1.1)."""
        words = text.text("UnformattedTextValue").replace("\r\n", "\n")
        box = text.numbers("BoundingBoxTopLeftHandCorner")
        anchor = text.numbers("AnchorPoint")
        at: Point | None = None
        if len(box) >= 2:
            placing = display if text.text("BoundingBoxAnnotationUnits") == "DISPLAY" else place
            at = _near(placing((box[0], box[1])))
        if len(anchor) >= 2:
            placing = display if text.text("AnchorPointAnnotationUnits") == "DISPLAY" else place
            target = _near(placing((anchor[0], anchor[1])))
            if at is not None and text.text("AnchorPointVisibility") == "Y":
                self._draw.line([at, target], fill=self._ink, width=self._width)
            at = at or target
        if at is not None:
            self._draw.multiline_text(at, words, fill=self._ink, font=self._font)


def _near(point: Point) -> Point:
    """A point that Pillow can draw to in bounded time; no image reaches this far."""
    return max(-_FARTHEST, min(point[0], _FARTHEST)), max(-_FARTHEST, min(point[1], _FARTHEST))


def _ellipse(center: Point, a: Point, b: Point) -> list[Point]:
    """A closed line of points around a centre, by two half axes."""
    steps = [2 * numpy.pi * step / _ELLIPSE_STEPS for step in range(_ELLIPSE_STEPS + 1)]
    return [
        (
            center[0] + float(numpy.cos(step)) * a[0] + float(numpy.sin(step)) * b[0],
            center[1] + float(numpy.cos(step)) * a[1] + float(numpy.sin(step)) * b[1],
        )
        for step in steps
    ]


def _ellipse_by_axes(points: Sequence[Point]) -> list[Point]:
    """An ellipse by the ends of its major and its minor axis."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points[:4]
    center = ((ax + bx) / 2, (ay + by) / 2)
    return _ellipse(center, ((bx - ax) / 2, (by - ay) / 2), ((dx - cx) / 2, (dy - cy) / 2))
