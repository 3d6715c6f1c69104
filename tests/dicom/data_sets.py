"""Data sets as trees, an independent encoder of them, and Hypothesis strategies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack

from hypothesis import strategies as st

from dicomwire.dicom.dictionary import TAGS, vr_of
from dicomwire.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)
LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
UNITS = {"AT": 2, "OW": 2, "SS": 2, "US": 2, "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4}
UNITS |= {"FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8}


@dataclass(frozen=True)
class Item:
    elements: tuple[Element, ...]
    undefined: bool


@dataclass(frozen=True)
class Element:
    """value: little endian bytes, or the items of a sequence."""

    tag: int
    vr: str
    value: bytes | tuple[Item, ...]
    undefined: bool = False


def element(keyword: str, vr: str, value: bytes | str) -> Element:
    raw = value.encode() if isinstance(value, str) else value
    if len(raw) % 2:
        raw += b"\0" if vr in ("UI", "OB") else b" "
    return Element(TAGS[keyword], vr, raw)


def sequence(keyword: str, *items: Sequence[Element], undefined: bool = False) -> Element:
    value = tuple(Item(tuple(elements), undefined) for elements in items)
    return Element(TAGS[keyword], "SQ", value, undefined)


def write(elements: Sequence[Element], syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    return b"".join(_element(one, syntax) for one in elements)


def _element(one: Element, syntax: str) -> bytes:
    order = ">" if syntax == EXPLICIT_VR_BIG_ENDIAN else "<"
    if isinstance(one.value, bytes):
        value = one.value
        unit = UNITS.get(one.vr, 1) if order == ">" else 1
        if unit > 1:
            value = b"".join(value[i : i + unit][::-1] for i in range(0, len(value), unit))
        length = len(value)
    else:
        value = b"".join(_item(item, syntax, order) for item in one.value)
        length = len(value)
        if one.undefined:
            value += pack(order + "HHI", 0xFFFE, 0xE0DD, 0)
            length = 0xFFFFFFFF
    group, number = one.tag >> 16, one.tag & 0xFFFF
    if syntax == IMPLICIT_VR_LITTLE_ENDIAN:
        return pack("<HHI", group, number, length) + value
    if one.vr in LONG:
        return pack(order + "HH2sHI", group, number, one.vr.encode(), 0, length) + value
    return pack(order + "HH2sH", group, number, one.vr.encode(), length) + value


def _item(item: Item, syntax: str, order: str) -> bytes:
    value = write(item.elements, syntax)
    if not item.undefined:
        return pack(order + "HHI", 0xFFFE, 0xE000, len(value)) + value
    return pack(order + "HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + value + pack(order + "HHI", 0xFFFE, 0xE00D, 0)


def _text(alphabet: str, size: int) -> st.SearchStrategy[bytes]:
    return st.text(alphabet, max_size=size).map(lambda text: text.encode() + b" " * (len(text.encode()) % 2))


def _binary(unit: int) -> st.SearchStrategy[bytes]:
    return st.integers(0, 4).flatmap(lambda count: st.binary(min_size=count * unit, max_size=count * unit))


# Values that are valid for their VR, so that pydicom reads them as we do
VALUES: dict[str, st.SearchStrategy[bytes]] = {
    "AE": _text("ABCD_12", 16),
    "CS": _text("ABCD_12\\", 16),
    "DA": st.sampled_from([b"", b"20240229"]),
    "DS": st.sampled_from([b"", b"1.5 ", b"-12.50", b"1e-3", b"0\\1.25", b"+7.0"]),
    "IS": st.sampled_from([b"", b"12", b"-7\\3", b"0005"]),
    "LO": _text("ab cdÄ^1", 20),
    "PN": st.sampled_from([b"", b"Doe^John", b"A^B=C^DE", b"A=B=C\\D "]),
    "SH": _text("ab cdé", 8),
    "UI": st.sampled_from([b"", b"1.2.840.1\0", b"1.2.34"]),
    "UT": _text("any text \\ and\r\n", 30),
    "FD": st.sampled_from([b"", pack("<d", 1.5), pack("<2d", -0.25, 1e300)]),
    **{vr: _binary(unit) for vr, unit in UNITS.items() if vr not in ("FD", "FL")},
    "AT": _binary(4),
    "OB": _binary(2),
    "UN": _binary(2),
}
# One or more standard attributes of each VR: what implicit VR reads back
ATTRIBUTES = [
    *("SOPClassUID", "SOPInstanceUID", "StudyDate", "AccessionNumber", "Modality", "StudyDescription"),
    *("PatientName", "PatientID", "PatientWeight", "StudyInstanceUID", "SeriesNumber", "Rows", "Columns"),
    *(
        "RetrieveAETitle",
        "FrameIncrementPointer",
        "RealWorldValueSlope",
        "TextValue",
        "ReferencedFrameNumbers",
    ),
    *("RedPaletteColorLookupTableData", "EncapsulatedDocument", "VectorGridData", "TrackPointIndexList"),
    *("SelectorULValue", "SelectorSLValue", "SelectorSSValue", "SelectorUVValue", "SelectorSVValue"),
]
SEQUENCES = [
    "RequestAttributesSequence",
    "ReferencedStudySequence",
    "ContentSequence",
    "OtherPatientIDsSequence",
]


@st.composite
def data_sets(draw: st.DrawFn, depth: int = 2) -> tuple[Element, ...]:
    """The elements of a data set, in ascending order."""
    elements = []
    for keyword in draw(st.lists(st.sampled_from(ATTRIBUTES), unique=True, max_size=6)):
        vr = vr_of(TAGS[keyword])
        elements.append(Element(TAGS[keyword], vr, draw(VALUES.get(vr, VALUES["UN"]))))
    if draw(st.booleans()):
        elements.append(Element(0x00091010, "UN", draw(_binary(2))))
    if depth:
        for keyword in draw(st.lists(st.sampled_from(SEQUENCES), unique=True, max_size=2)):
            items = draw(st.lists(st.builds(Item, data_sets(depth - 1), st.booleans()), max_size=3))
            elements.append(Element(TAGS[keyword], "SQ", tuple(items), draw(st.booleans())))
    return tuple(sorted(elements, key=lambda one: one.tag))


def normal(theirs: dict[str, dict[str, object]]) -> dict[str, object]:
    """pydicom's JSON as the standard has it: the differences that json_model documents."""
    ours: dict[str, object] = {}
    for tag, attribute in theirs.items():
        if tag.endswith("0000") or tag in ("7FE00010", "FFFCFFFC"):
            continue
        if tag == "00080005":
            attribute = {"vr": "CS", "Value": ["ISO_IR 192"]}
        elif attribute["vr"] == "SQ":
            value = attribute["Value"]
            assert isinstance(value, list)
            attribute = {"vr": "SQ", "Value": [normal(item) for item in value]} if value else {"vr": "SQ"}
        elif isinstance(values := attribute.get("Value"), list):
            if attribute["vr"] == "PN":
                values = [{k: v for k, v in name.items() if v} or None for name in values]
            elif attribute["vr"] == "CS":
                values = [value.strip() for value in values]
            attribute = {"vr": attribute["vr"], "Value": [None if v == "" else v for v in values]}
        ours[tag] = attribute
    return ours
