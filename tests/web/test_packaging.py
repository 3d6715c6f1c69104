"""Retrieval as a ZIP file, and entity tags of retrievals."""

from __future__ import annotations

from io import BytesIO
from zipfile import ZipFile

import pydicom
import pytest

STUDY = "/studies/1.2.3"
INSTANCE = STUDY + "/series/1.2.3.4/instances/1.2.3.4.1"


@pytest.mark.parametrize(("path", "count"), [(STUDY, 3), (STUDY + "/series/1.2.3.4", 2), (INSTANCE, 1)])
async def test_a_zip_file_is_a_file_set_of_what_is_stored(door, make_instance, path: str, count: int) -> None:
    instances = [make_instance(1), make_instance(2), make_instance(1, series="1.2.3.5")]
    await door.store(*instances)
    response = await door.get(path, "application/zip")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/zip"
    with ZipFile(BytesIO(response.content)) as package:
        assert package.testzip() is None
        *files, directory = package.namelist()
        assert directory == "DICOMDIR"
        assert len(files) == count
        held = {each.file for each in instances}
        assert all(package.read(name) in held for name in files)
        records = pydicom.dcmread(BytesIO(package.read(directory))).DirectoryRecordSequence
        listed = ["/".join(r.ReferencedFileID) for r in records if r.DirectoryRecordType == "IMAGE"]
        assert listed == files


async def test_a_zip_file_is_sent_only_where_it_is_asked_for(door, make_instance) -> None:
    await door.store(make_instance())
    for accept in ("*/*", "application/*", "application/zip;q=0.1, application/dicom"):
        assert (await door.get(INSTANCE, accept)).headers["content-type"] != "application/zip"


@pytest.mark.parametrize(
    ("syntax", "status"),
    [("*", 200), ("1.2.840.10008.1.2.1", 200), ("1.2.840.10008.1.2", 406), ("1.2.840.10008.1.2.4.80", 406)],
)
async def test_a_zip_file_in_another_transfer_syntax_than_what_is_stored_is_406(
    door, make_instance, syntax: str, status: int
) -> None:
    await door.store(make_instance())
    answer = await door.get(INSTANCE, f"application/zip; transfer-syntax={syntax}")
    assert answer.status_code == status


@pytest.mark.parametrize("accept", ["*/*", "application/dicom", "application/zip"])
async def test_a_retrieval_is_not_repeated_for_who_has_it(door, make_instance, accept: str) -> None:
    await door.store(make_instance())
    first = await door.get(INSTANCE, accept)
    again = await door.get(INSTANCE, accept, **{"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = await door.get(INSTANCE, 'application/dicom; transfer-syntax="*"', **{"If-None-Match": '"x"'})
    assert other.status_code == 200
    assert "accept" in first.headers["vary"]


@pytest.mark.parametrize("path", ["", "/metadata", "/frames/1", "/rendered"])
async def test_what_is_known_in_one_form_is_sent_in_another(door, make_instance, path: str) -> None:
    await door.store(make_instance(frames=(b"\1\2\3\4\5\6\7\x08",) * 2))
    forms = {
        "": ["application/zip", 'multipart/related; type="application/dicom"'],
        "/metadata": ["application/dicom+json", 'multipart/related; type="application/dicom+xml"'],
        "/frames/1": ["application/octet-stream", "image/jls"],
        "/rendered": ["image/png", "image/gif"],
    }[path]
    tags = [(await door.get(INSTANCE + path, form)).headers["etag"] for form in forms]
    for form, tag in zip(forms, reversed(tags), strict=True):
        assert (await door.get(INSTANCE + path, form, **{"If-None-Match": tag})).status_code == 200


@pytest.mark.parametrize("path", [INSTANCE, INSTANCE + "/metadata", INSTANCE + "/frames/1"])
async def test_what_changed_since_is_412_for_who_says_so(door, make_instance, path: str) -> None:
    await door.store(make_instance())
    tag = (await door.get(path)).headers["etag"]
    assert (await door.get(path, **{"If-Match": f'"x", {tag}'})).status_code == 200
    assert (await door.get(path, **{"If-Match": "*"})).status_code == 200
    changed = await door.get(path, **{"If-Match": '"x"'})
    assert changed.status_code == 412
    assert tag in changed.json()["detail"]
