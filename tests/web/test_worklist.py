"""The worklist over the web: items kept by their URLs, searches."""

from __future__ import annotations

import json

import pytest

from dicomwire.dicom import xml_model
from dicomwire.dicom.data_set import DataSet, from_object, to_json
from dicomwire.work.worklist_keys import STEP
from tests.work.items import item, step
from tests.work.steps import without

PATH = "/modality-scheduled-procedure-steps"


async def send(door, method: str, path: str, body: DataSet | str, media_type: str = "application/dicom+json"):
    content = body if isinstance(body, str) else to_json(body)
    if media_type.endswith("xml"):
        content = xml_model.encode(content)
    return await door.client.request(
        method, door.base + path, content=content, headers={"Content-Type": media_type}
    )


async def test_an_item_is_created_found_replaced_and_removed(door) -> None:
    created = await send(door, "POST", PATH, item(1))
    assert created.status_code == 201
    path = created.headers["location"].removeprefix(door.base)
    found = await door.get(f"{PATH}?PatientName=doe*&{STEP}.Modality=CT", "application/dicom+json")
    assert [from_object(each).text("AccessionNumber") for each in found.json()] == ["A1"]
    assert (await send(door, "PUT", path, item(1, PatientName="Roe^Richard"))).status_code == 204
    (kept,) = (await door.get(path, "application/dicom+json")).json()
    assert from_object(kept).text("PatientName") == "Roe^Richard"
    assert (await door.client.delete(door.base + path)).status_code == 204
    assert (await door.get(path, "application/dicom+json")).status_code == 404
    assert (await door.get(PATH, "application/dicom+json")).status_code == 204


async def test_items_come_as_xml_and_as_arrays(door) -> None:
    assert (await send(door, "POST", PATH, item(1), "application/dicom+xml")).status_code == 201
    many = "[" + ",".join(to_json(item(number)) for number in (2, 3)) + "]"
    assert len((await send(door, "POST", PATH, many)).json()) == 2
    first = await door.get(f"{PATH}?limit=2", "application/dicom+json")
    assert len(first.json()) == 2
    assert "additional results" in first.headers["warning"]
    xml = await door.get(PATH, 'multipart/related; type="application/dicom+xml"')
    assert xml.content.count(b"<NativeDicomModel") == 3


REFUSED = {
    "type 1 attributes are missing": (without(item(2), "PatientID"), 400, "PatientID"),
    "the item is there": (item(1), 409, "study and step"),
    "a UID that is none": (item(2, StudyInstanceUID="x"), 400, "StudyInstanceUID"),
    "no JSON": ("{", 400, "cannot be read"),
    "no data set": ("[]", 400, "no data set"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_refused_changes_nothing(door, case: str) -> None:
    await send(door, "POST", PATH, item(1))
    body, code, words = REFUSED[case]
    refused = await send(door, "POST", PATH, body)
    assert refused.status_code == code
    assert refused.json()["detail"].count(words) == 1
    assert len((await door.get(PATH, "application/dicom+json")).json()) == 1


async def test_two_steps_of_one_data_set_that_have_the_same_id_are_refused(door) -> None:
    twice = item(2, steps=(step(2), step(2, Modality="MR")))
    assert (await send(door, "POST", PATH, twice)).status_code == 409
    assert (await door.get(PATH, "application/dicom+json")).status_code == 204


async def test_keys_of_the_step_need_no_sequence_before_them(door) -> None:
    await send(door, "POST", PATH, item(1))
    await send(door, "POST", PATH, item(2, Modality="MR"))
    for query in ("Modality=MR&ScheduledStationAETitle=CT1", "00080060=MR", f"{STEP}.Modality=MR"):
        (found,) = (await door.get(f"{PATH}?{query}", "application/dicom+json")).json()
        assert from_object(found).text("AccessionNumber") == "A2"


async def test_one_item_comes_in_the_form_that_is_asked_for(door) -> None:
    path = (await send(door, "POST", PATH, item(1))).headers["location"].removeprefix(door.base)
    plain = await door.get(path, "application/dicom+xml, application/dicom+json;q=0.5")
    assert plain.headers["content-type"] == "application/dicom+xml"
    assert b">Doe</FamilyName>" in plain.content
    parts = await door.get(path, 'multipart/related; type="application/dicom+xml"')
    assert parts.headers["content-type"].startswith("multipart/related")
    assert parts.content.count(b"<NativeDicomModel") == 1
    assert (await door.get(path, "text/html")).status_code == 406


async def test_bad_queries_are_400(door) -> None:
    for query in ("limit=x", "NoSuchKeyword=1", f"{STEP}.ScheduledProcedureStepStartDate=tomorrow"):
        assert (await door.get(f"{PATH}?{query}", "application/dicom+json")).status_code == 400
    assert (await door.get(f"{PATH}/x", "application/dicom+json")).status_code == 404


async def test_fields_are_added_and_everything_is_given(door) -> None:
    await send(door, "POST", PATH, item(1, PatientComments="calm"))
    plain, more, everything = [
        json.dumps((await door.get(PATH + query, "application/dicom+json")).json())
        for query in ("", "?includefield=PatientComments", "?includefield=all")
    ]
    assert ("calm" in plain, "calm" in more, "calm" in everything) == (False, True, True)
