"""Properties of every reader of data sets, on generated ones in every encoding."""

from __future__ import annotations

import json
import mmap
import tempfile
import warnings
import zlib
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset

from dicomwire.dicom.bulk_data import BulkData, locate
from dicomwire.dicom.convert import converted_length, to_transfer_syntax
from dicomwire.dicom.elements import Kind, elements, items
from dicomwire.dicom.encoding import encoding_of
from dicomwire.dicom.indexed import INDEXED
from dicomwire.dicom.json_model import element as element_json
from dicomwire.dicom.json_model import encode
from dicomwire.dicom.scan import scan
from dicomwire.errors import DataSetError
from dicomwire.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.dicom.data_sets import SYNTAXES, Element, data_sets, normal, write

settings.register_profile("dicom", max_examples=60, deadline=None)
settings.load_profile("dicom")

syntaxes = st.sampled_from(SYNTAXES)


def pydicoms(data: bytes, syntax: str) -> Dataset:
    return read_dataset(
        DicomBytesIO(data), syntax == IMPLICIT_VR_LITTLE_ENDIAN, syntax != EXPLICIT_VR_BIG_ENDIAN
    )


def model(data: bytes, syntax: str) -> dict[str, dict[str, object]]:
    loaded: dict[str, dict[str, object]] = json.loads(
        encode(data, syntax, bulk_data_uri=None, inline_limit=1 << 20)
    )
    return loaded


@given(data_sets(), syntaxes)
def test_scan_collects_the_indexed_values(tree: tuple[Element, ...], syntax: str) -> None:
    found = scan(write(tree, syntax), syntax)
    assert set(found.values) == {one.tag for one in tree if one.tag in INDEXED}
    assert found.findings == ()
    for one in tree:
        if one.tag in INDEXED and isinstance(one.value, bytes) and one.vr not in ("US", "UL", "SS", "SL"):
            assert found.values[one.tag] == one.value


@given(data_sets(), syntaxes)
def test_every_reader_takes_every_buffer(tree: tuple[Element, ...], syntax: str) -> None:
    data = write(tree, syntax)
    expected = scan(data, syntax)
    assert scan(bytearray(data), syntax) == expected
    assert scan(memoryview(bytearray(data)), syntax) == expected
    assert all(type(value) is bytes for value in scan(memoryview(data), syntax).values.values())
    if data:
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                assert scan(mapped, syntax) == expected
                assert encode(mapped, syntax, bulk_data_uri=None) == encode(data, syntax, bulk_data_uri=None)


def boundaries(data: bytes, syntax: str) -> Iterator[int]:
    """Offsets behind each top-level element: where a cut cannot be seen."""
    depth = 0
    yield 0
    for step in elements(data, encoding_of(syntax)):
        depth += (step.kind is Kind.SEQUENCE) - (step.kind is Kind.SEQUENCE_END)
        if not depth and step.kind in (Kind.VALUE, Kind.SEQUENCE_END, Kind.ENCAPSULATED):
            yield step.end


@settings(max_examples=30, deadline=None)
@given(data_sets(), syntaxes)
def test_a_data_set_cut_anywhere_is_an_error(tree: tuple[Element, ...], syntax: str) -> None:
    data = write(tree, syntax)
    whole = set(boundaries(data, syntax))
    for length in range(len(data)):
        if length in whole:
            scan(data[:length], syntax)
            continue
        try:
            found = scan(data[:length], syntax)
        except DataSetError:
            continue
        assert "zero bytes follow" in found.findings[-1]  # big endian: a header's first byte may be 00


def outcome(data: bytes, syntax: str) -> bool:
    try:
        scan(data, syntax)
    except DataSetError:
        return False
    return True


def read_to_the_end(data: bytes, syntax: str) -> bool:
    try:
        for _ in elements(data, encoding_of(syntax)):
            pass
    except DataSetError:
        return False
    return True


def conversion(data: bytes, source: str, target: str) -> tuple[bytes, str]:
    """A data set in another transfer syntax, or why it cannot be."""
    try:
        return b"".join(to_transfer_syntax(data, source, target)), ""
    except DataSetError as error:
        return b"", error.what


@given(st.binary(max_size=200), syntaxes)
def test_any_bytes_are_a_data_set_or_an_error(data: bytes, syntax: str) -> None:
    assert outcome(data, syntax) == read_to_the_end(data, syntax)


@given(data_sets(), syntaxes, st.data())
def test_a_damaged_data_set_is_read_or_an_error(
    tree: tuple[Element, ...], syntax: str, draw: st.DataObject
) -> None:
    data = bytearray(write(tree, syntax))
    for _ in range(draw.draw(st.integers(1, 4)) if data else 0):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    readable = outcome(bytes(data), syntax)
    assert readable == read_to_the_end(bytes(data), syntax)
    if readable:
        json.loads(encode(data, syntax, bulk_data_uri=None))
        for target in SYNTAXES:
            converted, refusal = conversion(data, syntax, target)
            assert outcome(converted, target)
            if refusal:  # an explicit VR that contradicts the dictionary
                assert target == IMPLICIT_VR_LITTLE_ENDIAN
                assert "where Implicit VR has" in refusal


@given(data_sets(), syntaxes)
def test_json_equals_pydicoms(tree: tuple[Element, ...], syntax: str) -> None:
    data = write(tree, syntax)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = json.loads(json.dumps(pydicoms(data, syntax).to_json_dict()))
    ours = model(data, syntax)
    if "00080005" not in theirs:  # ours says which character set it is in
        ours.pop("00080005", None)
    assert ours == little_endian(normal(theirs), syntax)


def little_endian(theirs: dict[str, object], syntax: str) -> dict[str, object]:
    """pydicom leaves binary values of big endian data sets as they are: take ours on trust there."""
    return theirs if syntax != EXPLICIT_VR_BIG_ENDIAN else _Binary(theirs)


class _Binary(dict[str, object]):
    def __eq__(self, other: object) -> bool:
        return _without_binary(self) == _without_binary(other)

    __hash__ = None  # type: ignore[assignment]


def _without_binary(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_binary(one) for key, one in value.items() if key != "InlineBinary"}
    return [_without_binary(one) for one in value] if isinstance(value, list) else value


@given(data_sets(), syntaxes, syntaxes)
def test_conversion_keeps_the_json(tree: tuple[Element, ...], source: str, target: str) -> None:
    data = write(tree, source)
    converted = b"".join(to_transfer_syntax(data, source, target))
    assert model(converted, target) == model(data, source)
    assert converted_length(data, source, target) == len(converted)
    back = b"".join(to_transfer_syntax(converted, target, source))
    assert model(back, source) == model(data, source)


@given(data_sets())
def test_one_tree_in_every_encoding_is_one_json(tree: tuple[Element, ...]) -> None:
    first, *others = [model(write(tree, syntax), syntax) for syntax in SYNTAXES]
    assert others == [first, first]


@given(data_sets(), syntaxes)
def test_deflating_and_inflating_gives_the_data_set_back(tree: tuple[Element, ...], syntax: str) -> None:
    data = write(tree, syntax)
    small = b"".join(to_transfer_syntax(data, syntax, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN))
    assert len(small) % 2 == 0
    plain = b"".join(to_transfer_syntax(data, syntax, EXPLICIT_VR_LITTLE_ENDIAN))
    assert zlib.decompress(small, -15) == plain
    deflated = DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
    assert b"".join(to_transfer_syntax(small, deflated, EXPLICIT_VR_LITTLE_ENDIAN)) == plain
    assert scan(small, deflated).values == scan(plain, EXPLICIT_VR_LITTLE_ENDIAN).values
    assert model(small, deflated) == model(data, syntax)


@given(data_sets(), syntaxes)
def test_one_elements_json_is_the_data_sets(tree: tuple[Element, ...], syntax: str) -> None:
    data = write(tree, syntax)
    found = scan(data, syntax)
    whole = model(data, syntax)
    for tag, value in found.values.items():
        assert json.loads(element_json(tag, "", value, found.decoder_of(tag))) == whole[f"{tag:08X}"]


@given(data_sets(), syntaxes)
def test_items_of_a_collected_sequence_are_read(tree: tuple[Element, ...], syntax: str) -> None:
    found = scan(write(tree, syntax), syntax)
    for one in tree:
        if one.tag in found.values and isinstance(one.value, tuple):
            steps = items(found.values[one.tag], one.tag, found.decoder_of(one.tag).encoding)
            top = [step for step in steps if step.kind is Kind.ITEM and step.tag == one.tag]
            assert len(top) >= len(one.value)


@given(data_sets(), syntaxes)
def test_every_bulk_data_uri_leads_back_to_its_value(tree: tuple[Element, ...], syntax: str) -> None:
    data = write(tree, syntax)
    named: list[BulkData] = []

    def uri(bulk: BulkData) -> str:
        named.append(bulk)
        return "bulk"

    encode(data, syntax, bulk_data_uri=uri, inline_limit=0)
    for bulk in named:
        assert locate(data, syntax, bulk.path) == bulk
