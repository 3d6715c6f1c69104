"""Data sets scanned along outlines, against the same scanned without."""

from __future__ import annotations

from dataclasses import replace
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.dicom import outline
from dicomwire.dicom.dictionary import TAGS, vr_of
from dicomwire.dicom.encoding import EXPLICIT_LITTLE
from dicomwire.dicom.outline import Outlines
from dicomwire.dicom.scan import Scan, scan
from dicomwire.errors import DataSetError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.dicom.data_sets import SYNTAXES, VALUES, Element, data_sets, element, sequence, write

PIXELS = element("PixelData", "OW", b"\1" * 40)


def scanned(data: bytes, syntax: str, outlines: Outlines | None = None) -> Scan | str:
    try:
        return scan(bytearray(data), syntax, outlines=outlines)
    except DataSetError as error:
        return str(error)


def same(outlines: Outlines, data: bytes, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> None:
    assert scanned(data, syntax, outlines) == scanned(data, syntax)


def passed(outlines: Outlines, data: bytes) -> int:
    """Bytes that an outline covers."""
    return outlines.advance(data, EXPLICIT_LITTLE, {}).position


def instance(number: int, *more: Element, patient: str = "Doe^Jo") -> list[Element]:
    """One of a series whose instances differ as those of a device do."""
    return [
        element("SOPClassUID", "UI", "1.2.840.10008.5.1.4.1.1.2"),
        element("SOPInstanceUID", "UI", f"1.2.3.{number}"),
        element("ContentTime", "TM", f"10{number:04}.5"),
        sequence("ReferencedImageSequence", [element("ReferencedSOPInstanceUID", "UI", f"1.9.{number:03}")]),
        element("PatientName", "PN", patient),
        element("InstanceNumber", "IS", str(number)),
        element("Rows", "US", b"\0\2"),
        *more,
        PIXELS,
    ]


@pytest.mark.parametrize("undefined", [False, True])
def test_a_series_is_passed_up_to_its_pixel_data(undefined: bool) -> None:
    outlines = Outlines()
    for number in (1, 23, 456, 7):
        history = sequence(
            "RequestAttributesSequence",
            [element("ScheduledProcedureStepID", "SH", "S1")],
            undefined=undefined,
        )
        data = write(instance(number, history))
        same(outlines, data)
    assert passed(outlines, data) == len(data) - len(write([PIXELS]))


def test_what_differs_between_patients_is_learned() -> None:
    outlines = Outlines()
    for number, patient in enumerate(["A^B", "Longer^Name", "C", "D^E", "F^G"]):
        data = write(instance(number, patient=patient))
        same(outlines, data)
    assert passed(outlines, data) == len(data) - len(write([PIXELS]))


@pytest.mark.parametrize("undefined", [False, True])
def test_an_indexed_sequence_that_differs_is_passed(undefined: bool) -> None:
    outlines = Outlines()
    for number in range(4):
        step = element("ScheduledProcedureStepID", "SH", f"S{number}")
        code = sequence("ScheduledProtocolCodeSequence", [element("CodeValue", "SH", "C1"), step])
        history = sequence("RequestAttributesSequence", [code, step], [], [step], undefined=undefined)
        data = write(instance(number, history))
        same(outlines, data)
    assert passed(outlines, data) == len(data) - len(write([PIXELS]))


def test_a_length_within_a_sequence_that_differs_is_walked() -> None:
    outlines = Outlines()
    for number in (1, 22, 333, 4444, 55555):
        uid = element("ReferencedSOPInstanceUID", "UI", "1.9." + "7" * number.bit_length())
        for undefined in (False, True):
            same(
                outlines,
                write([sequence("ReferencedImageSequence", [uid], undefined=undefined), *instance(1)[4:]]),
            )


def test_bad_values_behind_an_outline_are_told_alike() -> None:
    outlines = Outlines()
    for number in range(3):
        same(outlines, write(instance(number)))
    good = write(instance(4))
    for cut in range(len(good)):
        same(outlines, good[:cut])
    at = good.index(b"UI", good.index(b"UI") + 2) + 2  # the length of SOP Instance UID
    for length in range(0, 1 << 16, 251):
        same(outlines, good[:at] + pack("<H", length) + good[at + 2 :])


def test_outlines_are_bounded() -> None:
    outlines = Outlines()
    for number in range(2_000):
        tags = [tag for bit, tag in enumerate(range(0x00191000, 0x0019100C)) if number >> bit & 1]
        same(outlines, write([Element(tag, "LO", b"ab") for tag in tags]))
    assert len(outlines._outlines) <= outline._OUTLINES


def test_learning_is_bounded() -> None:
    """Data sets without anything in common are looked at seldom."""
    outlines = Outlines()
    looked_at = 0
    for number in range(3_000):
        known = outlines._outlines
        same(outlines, write([Element(0x00191000 + number, "LO", b"ab"), Element(0x00211000, "LO", b"")]))
        looked_at += outlines._outlines is not known
    assert looked_at < 30


@given(st.data(), data_sets(), st.sampled_from(SYNTAXES))
def test_data_sets_scan_alike(data: st.DataObject, elements: tuple[Element, ...], syntax: str) -> None:
    """Variants of one data set, damaged ones among them."""
    outlines = Outlines()
    for _ in range(6):
        variant = [
            replace(one, value=data.draw(VALUES[one.vr]))
            if one.vr in VALUES and data.draw(st.booleans())
            else one
            for one in elements
        ]
        whole = bytearray(write(variant, syntax))
        if whole and data.draw(st.integers(0, 3)) == 0:
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        if data.draw(st.integers(0, 3)) == 0:
            del whole[data.draw(st.integers(0, len(whole))) :]
        same(outlines, bytes(whole), syntax)


@pytest.mark.parametrize(
    "keyword", ["PatientID", "PixelSpacing", "DimensionIndexValues", "TextValue", "ICCProfile"]
)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_kind_of_length_may_differ(keyword: str, syntax: str) -> None:
    outlines = Outlines()
    vr = vr_of(TAGS[keyword])
    for number in range(5):
        same(
            outlines,
            write([element("Modality", "CS", "CT"), element(keyword, vr, b"1" * 4 * number)], syntax),
            syntax,
        )
