"""Scan, JSON and conversion of every file that pydicom bundles, with pydicom as the oracle."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_files
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from dicomwire.dicom import xml_model
from dicomwire.dicom.convert import converted_length, to_explicit_vr_little_endian, to_transfer_syntax
from dicomwire.dicom.deflate import inflate
from dicomwire.dicom.dictionary import vr_of
from dicomwire.dicom.elements import Kind, elements
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, encoding_of
from dicomwire.dicom.indexed import INDEXED
from dicomwire.dicom.json_memo import JsonMemo
from dicomwire.dicom.json_model import encode
from dicomwire.dicom.part10 import FileMeta, read_file_meta
from dicomwire.dicom.scan import scan
from dicomwire.errors import DataSetError, Part10Error
from dicomwire.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.dicom.data_sets import normal

CUT = {"rtplan_truncated.dcm", "MR_truncated.dcm", "DICOMDIR-nooffset"}
# pydicom cannot render these itself: an IS of "1A", and UN sequences whose items it reads otherwise
NO_ORACLE = {"badVR.dcm"}
UNCOMPRESSED = {
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
}


def readable_files() -> list[Path]:
    paths = (Path(name) for name in get_testdata_files())
    return sorted({path for path in paths if path.is_file() and is_dicom(path)})


def is_dicom(path: Path) -> bool:
    try:
        read_file_meta(path.read_bytes(), complete=True, accept_bare=True)
    except Part10Error:
        return False
    return True


def read(path: Path) -> tuple[FileMeta, bytes]:
    data = path.read_bytes()
    meta = read_file_meta(data, complete=True, accept_bare=True)
    assert meta is not None
    return meta, data[meta.length :]


def dcmread(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, force=True)


FILES = [path for path in readable_files() if path.name not in CUT]
IDS = [f"{path.parent.name}/{path.name}" for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_scan_finds_what_pydicom_finds(path: Path) -> None:
    meta, data = read(path)
    found = scan(data, meta.transfer_syntax_uid)
    dataset = dcmread(path)
    assert set(found.values) == INDEXED.intersection(dataset.keys())
    for tag in found.values:
        vr = vr_of(tag)
        if vr in ("SQ", "UN"):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = dataset[tag].value
        if vr in ("US", "UL"):
            assert found.integer(tag) == value
        elif vr in ("IS", "DS"):
            if path.name not in NO_ORACLE:
                assert [float(text) for text in found.texts(tag) if text] == numbers(dataset[tag])
        else:
            assert found.texts(tag) == texts(dataset[tag])


def numbers(element: DataElement) -> list[float]:
    values = element.value if element.VM > 1 else [element.value]
    return [float(value) for value in values if value not in (None, "")]


def texts(element: DataElement) -> list[str]:
    if element.is_empty:
        return []
    values = element.value if element.VM > 1 else [element.value]
    return [str(value).rstrip(" ") for value in values]


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_pixel_data_lies_where_pydicom_reads_it(path: Path) -> None:
    meta, data = read(path)
    found = scan(data, meta.transfer_syntax_uid)
    dataset = dcmread(path)
    if encoding_of(meta.transfer_syntax_uid).deflated:
        data = bytes(inflate(data))
    if "PixelData" not in dataset:
        assert found.pixel_data is None
        return
    assert found.pixel_data is not None
    if found.pixel_data.length is None:
        # pydicom's value ends before the sequence delimitation item
        assert data[found.pixel_data.offset : found.pixel_data.end - 8] == dataset.PixelData
    else:
        assert data[found.pixel_data.offset : found.pixel_data.end] == dataset.PixelData


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_the_reader_of_elements_agrees_with_the_scanner(path: Path) -> None:
    meta, data = read(path)
    encoding = encoding_of(meta.transfer_syntax_uid)
    if encoding.deflated:
        data, encoding = bytes(inflate(data)), EXPLICIT_LITTLE
    depth, top_level = 0, {}
    for step in elements(data, encoding):
        if step.kind is Kind.SEQUENCE:
            depth += 1
        elif step.kind is Kind.SEQUENCE_END:
            depth -= 1
        elif step.kind is Kind.VALUE and not depth:
            top_level[step.tag] = data[step.start : step.end]
    found = scan(data, EXPLICIT_VR_LITTLE_ENDIAN if encoding is EXPLICIT_LITTLE else meta.transfer_syntax_uid)
    plain = {tag: value for tag, value in found.values.items() if tag in top_level}
    assert plain == {tag: top_level[tag] for tag in plain}


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_json_equals_pydicoms(path: Path) -> None:
    meta, data = read(path)
    ours = json.loads(encode(data, meta.transfer_syntax_uid, bulk_data_uri=None, inline_limit=1 << 30))
    if path.name in NO_ORACLE:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = json.loads(json.dumps(dcmread(path).to_json_dict()))
    assert ours == normal(theirs)


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_conversion_keeps_every_value(path: Path) -> None:
    meta, data = read(path)
    if meta.transfer_syntax_uid not in UNCOMPRESSED:
        return
    converted = b"".join(to_explicit_vr_little_endian(data, meta.transfer_syntax_uid))
    result = scan(converted, EXPLICIT_VR_LITTLE_ENDIAN)
    assert kinds(result.findings) == kinds(scan(data, meta.transfer_syntax_uid).findings)
    original = json.loads(encode(data, meta.transfer_syntax_uid, bulk_data_uri=None, inline_limit=1 << 30))
    after = json.loads(encode(converted, EXPLICIT_VR_LITTLE_ENDIAN, bulk_data_uri=None, inline_limit=1 << 30))
    assert after == original
    length = converted_length(data, meta.transfer_syntax_uid, EXPLICIT_VR_LITTLE_ENDIAN)
    assert length == len(converted)


def kinds(findings: tuple[str, ...]) -> list[str]:
    """Findings without offsets, which conversion moves, and without implicit VR, which it makes explicit."""
    return [re.sub(r"byte \d+", "", finding) for finding in findings if "implicit VR" not in finding]


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_conversion_reads_in_pydicom_as_the_original_does(path: Path) -> None:
    meta, data = read(path)
    if meta.transfer_syntax_uid not in UNCOMPRESSED or path.name in NO_ORACLE:
        return
    for target, implicit, little in (
        (EXPLICIT_VR_LITTLE_ENDIAN, False, True),
        (IMPLICIT_VR_LITTLE_ENDIAN, True, True),
        (EXPLICIT_VR_BIG_ENDIAN, False, False),
    ):
        converted = b"".join(to_transfer_syntax(data, meta.transfer_syntax_uid, target))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = read_dataset(DicomBytesIO(converted), implicit, little)
            original = dcmread(path)
            assert values_of(theirs) == values_of(original)


def values_of(dataset: Dataset) -> dict[BaseTag, object]:
    """Values by tag, but for binary ones, whose bytes depend on byte order, and for group lengths."""
    values: dict[BaseTag, object] = {}
    for element in dataset:
        if element.tag.element == 0 or element.VR in ("OB", "OW", "OF", "OD", "OL", "OV", "UN", "OB or OW"):
            continue
        if element.VR == "SQ":
            values[element.tag] = [values_of(item) for item in element.value]
        elif not element.tag.is_private:  # implicit VR loses what only explicit VR said
            values[element.tag] = element.value if element.VM else None
    return values


@pytest.mark.parametrize("name", sorted(CUT - {"DICOMDIR-nooffset"}))
def test_cut_files_say_which_element_is_cut(name: str) -> None:
    path = next(Path(file) for file in get_testdata_files() if Path(file).name == name)
    meta, data = read(path)
    with pytest.raises(DataSetError, match=r"\([0-9A-F]{4},[0-9A-F]{4}\).*remain"):
        scan(data, meta.transfer_syntax_uid)


def test_memory_of_all_files_changes_no_json() -> None:
    memo = JsonMemo()
    for path in FILES * 2:
        meta, data = read(path)
        syntax = meta.transfer_syntax_uid
        expected = encode(data, syntax, bulk_data_uri=lambda value: str(value))
        assert memo.encode(data, syntax, bulk_data_uri=lambda value: str(value)) == expected, path.name


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_the_native_model_says_what_json_says(path: Path) -> None:
    meta, data = read(path)
    text = encode(data, meta.transfer_syntax_uid, bulk_data_uri=lambda _: "bulk")
    read_back = xml_model.decode(xml_model.encode(text))
    assert plain(read_back) == plain(json.loads(text, parse_float=str, parse_int=str))


def plain(model: object) -> object:
    """A JSON object without what XML does not tell: empty values and components at the end, controls."""
    if isinstance(model, list):
        return [plain(each) for each in model]
    if isinstance(model, dict):
        members = {name: plain(member) for name, member in model.items()}
        while (values := members.get("Value")) and values[-1] in (None, "", {}):
            values.pop()
        return {name: member for name, member in members.items() if member != []}
    return model.translate(_CONTROLS).rstrip("^") if isinstance(model, str) else model


_CONTROLS = {code: "\ufffd" for code in range(32) if chr(code) not in "\t\n\r"}
