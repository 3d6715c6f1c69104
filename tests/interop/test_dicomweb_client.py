"""The PyPI package dicomweb-client, unchanged, against this node's web door."""

from __future__ import annotations

import io
import warnings

import pydicom
import pytest
from dicomweb_client import DICOMwebClient

from tests.interop.support import (
    BundledFile,
    Node,
    bundled_files,
    differences,
    generations,
    read,
)


def _pydicom_can_write(file: BundledFile) -> bool:
    """dicomweb-client encodes with pydicom, which cannot write every file it reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pydicom.dcmwrite(io.BytesIO(), read(file.path))
        except (TypeError, ValueError):
            return False
    return True


FILES = [each for each in generations(bundled_files())[0] if _pydicom_can_write(each)]
NATIVE = [each for each in FILES if each.transfer_syntax_uid == "1.2.840.10008.1.2.1"]


@pytest.fixture
def client(node: Node) -> DICOMwebClient:
    """A client of the node."""
    return DICOMwebClient(node.url(""))


def test_store_search_and_retrieve_of_everything(client: DICOMwebClient) -> None:
    for each in FILES:
        client.store_instances([read(each.path)])
    found = client.search_for_instances(limit=500)
    assert {each["00080018"]["Value"][0] for each in found} == {each.sop_instance_uid for each in FILES}
    for each in FILES:
        uids = (each.study_instance_uid, each.series_instance_uid, each.sop_instance_uid)
        got = client.retrieve_instance(*uids, media_types=(("application/dicom", "*"),))
        assert differences(read(each.path), got) == [], each.path.name


def test_retrieve_with_the_client_s_defaults(client: DICOMwebClient) -> None:
    client.store_instances([read(each.path) for each in NATIVE[:5]])
    for each in NATIVE[:5]:
        got = client.retrieve_instance(
            each.study_instance_uid, each.series_instance_uid, each.sop_instance_uid
        )
        assert differences(read(each.path), got) == [], each.path.name


def test_study_series_and_metadata(client: DICOMwebClient) -> None:
    folder = [each for each in FILES if "98892003" in each.path.parts]
    client.store_instances([read(each.path) for each in folder])
    studies = {each.study_instance_uid for each in folder}
    assert {each["0020000D"]["Value"][0] for each in client.search_for_studies()} == studies
    for study in studies:
        expected = {each.sop_instance_uid for each in folder if each.study_instance_uid == study}
        assert {each.SOPInstanceUID for each in client.retrieve_study(study)} == expected
        metadata = client.retrieve_study_metadata(study)
        assert {each["00080018"]["Value"][0] for each in metadata} == expected
        series = {each["0020000E"]["Value"][0] for each in client.search_for_series(study)}
        assert series == {each.series_instance_uid for each in folder if each.study_instance_uid == study}
        for each in series:
            found = {item["00080018"]["Value"][0] for item in client.search_for_instances(study, each)}
            assert found == {item.sop_instance_uid for item in folder if item.series_instance_uid == each}


def test_search_by_attribute_and_by_nothing_that_matches(client: DICOMwebClient) -> None:
    file = _ct()
    client.store_instances([read(file.path)])
    patient = read(file.path).PatientID
    assert len(client.search_for_studies(search_filters={"PatientID": patient})) == 1
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
    assert client.search_for_studies(limit=10, offset=10) == []


def test_frames_and_bulk_data(client: DICOMwebClient) -> None:
    file = _ct()
    client.store_instances([read(file.path)])
    uids = (file.study_instance_uid, file.series_instance_uid, file.sop_instance_uid)
    pixels = read(file.path).PixelData
    (frame,) = client.retrieve_instance_frames(*uids, frame_numbers=[1])
    assert frame == pixels
    metadata = client.retrieve_instance_metadata(*uids)
    uri = metadata["7FE00010"]["BulkDataURI"]
    (bulk,) = client.retrieve_bulkdata(uri)
    assert bulk == pixels


def test_compressed_frames_come_decoded_and_encoded_and_rendered(client: DICOMwebClient) -> None:
    (file,) = {each.path: each for each in bundled_files() if each.path.name == "MR_small_RLE.dcm"}.values()
    stored = read(file.path)
    client.store_instances([stored])
    uids = (file.study_instance_uid, file.series_instance_uid, file.sop_instance_uid)
    native = (("application/octet-stream", "1.2.840.10008.1.2.1"),)
    (frame,) = client.retrieve_instance_frames(*uids, frame_numbers=[1], media_types=native)
    assert frame == stored.pixel_array.tobytes()
    encoded = (("image/jls", "1.2.840.10008.1.2.4.80"),)
    (frame,) = client.retrieve_instance_frames(*uids, frame_numbers=[1], media_types=encoded)
    assert frame.startswith(b"\xff\xd8\xff\xf7")
    explicit = (("application/dicom", "1.2.840.10008.1.2.1"),)
    found = client.retrieve_instance(*uids, media_types=explicit)
    assert found.PixelData == stored.pixel_array.tobytes()
    size = {"viewport": "32,32", "window": "600,1200,linear", "quality": "80"}
    for picture in (
        client.retrieve_instance_rendered(*uids, media_types=("image/png",), params=size),
        client.retrieve_instance_frames_rendered(*uids, frame_numbers=[1], media_types=("image/png",)),
        client.retrieve_series_rendered(*uids[:2], media_types=("image/png",)),
    ):
        assert picture.startswith(b"\x89PNG")


def test_metadata_equals_pydicom_s(client: DICOMwebClient) -> None:
    for each in (_ct(), *NATIVE[:3]):
        client.store_instances([read(each.path)])
        metadata = client.retrieve_instance_metadata(
            each.study_instance_uid, each.series_instance_uid, each.sop_instance_uid
        )
        expected = read(each.path)
        found = {tag for tag in metadata if not tag.startswith("0002")}
        tags = {f"{tag.group:04X}{tag.element:04X}" for element in expected if (tag := element.tag).element}
        assert found - {"FFFCFFFC"} == tags - {"FFFCFFFC"}, each.path.name


def _ct() -> BundledFile:
    return next(each for each in FILES if each.path.name == "CT_small.dcm")
