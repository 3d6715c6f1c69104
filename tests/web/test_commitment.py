"""Storage Commitment over the web (PS3.18 13)."""

from __future__ import annotations

import json

import pytest

from dicomwire.dicom import xml_model
from dicomwire.dicom.data_set import DataSet, from_xml, to_json

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
PATH = "/commitment-requests/2.25.1"
HELD, MISSING = "1.2.3.4.1", "1.2.3.4.9"


def reference(uid: str, sop_class: str = CT) -> DataSet:
    return DataSet().put("ReferencedSOPClassUID", sop_class).put("ReferencedSOPInstanceUID", uid)


def flat(*items: DataSet) -> DataSet:
    return DataSet().put("ReferencedSOPSequence", *items)


def tree(*uids: str) -> DataSet:
    instances = [DataSet().put("ReferencedSOPInstanceUID", uid) for uid in uids]
    group = DataSet().put("ReferencedSOPClassUID", CT).put("ReferencedInstanceSequence", *instances)
    series = DataSet().put("SeriesInstanceUID", "1.2.3.4")
    series.put("ReferencedInstancesBySOPClassSequence", group)
    study = DataSet().put("StudyInstanceUID", "1.2.3").put("ReferencedSeriesSequence", series)
    return DataSet().put("ReferencedStudySequence", study)


async def post(door, body: str | bytes, path: str = PATH, **headers: str):
    return await door.client.post(
        door.base + path, content=body, headers={"Content-Type": "application/dicom+json", **headers}
    )


async def test_what_is_durable_is_committed_and_the_rest_has_its_reason(door, make_instance) -> None:
    await door.store(make_instance(1), make_instance(2))
    asked = flat(reference(HELD), reference("1.2.3.4.2", MR), reference(MISSING))
    response = await post(door, to_json(asked))
    assert response.status_code == 200
    found = response.json()
    assert "00081195" not in found  # the transaction is named by the path alone (PS3.18 13.4.1.1)
    assert [item["00081155"]["Value"] for item in found["00081199"]["Value"]] == [[HELD]]
    assert [
        (item["00081155"]["Value"][0], item["00081197"]["Value"][0]) for item in found["00081198"]["Value"]
    ] == [("1.2.3.4.2", 0x0119), (MISSING, 0x0112)]


async def test_the_result_is_kept_and_its_transaction_not_used_twice(door, make_instance) -> None:
    await door.store(make_instance(1))
    first = await post(door, to_json(flat(reference(HELD))))
    again = await post(door, to_json(flat(reference(HELD))))
    assert again.status_code == 409
    assert "2.25.1" in again.json()["detail"]
    kept = await door.get(PATH, "application/dicom+json")
    assert (kept.status_code, kept.json()) == (200, first.json())
    assert (await door.get("/commitment-requests/2.25.2")).status_code == 404


async def test_instances_named_within_their_study_are_answered_so(door, make_instance) -> None:
    await door.store(make_instance(1))
    response = await post(door, to_json(tree(HELD, MISSING)), Accept="application/dicom+xml")
    assert response.headers["content-type"] == "application/dicom+xml"
    found = from_xml(response.content)
    assert found[0x00081110] == tree(HELD)[0x00081110]
    (study,) = found.sequence("FailedStudySequence")
    (group,) = study.sequence("ReferencedSeriesSequence")[0].sequence("ReferencedInstancesBySOPClassSequence")
    (failed,) = group.sequence("ReferencedInstanceSequence")
    assert (failed.text("ReferencedSOPInstanceUID"), failed.text("FailureReason")) == (MISSING, str(0x0112))


async def test_requests_may_be_xml(door, make_instance) -> None:
    await door.store(make_instance(1))
    body = xml_model.encode(to_json(flat(reference(HELD))))
    response = await post(door, body, **{"Content-Type": "application/dicom+xml"})
    assert len(response.json()["00081199"]["Value"]) == 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("", {}, 400),
        ("[]", {}, 400),
        ("[{},{}]", {}, 400),
        ("{}", {}, 400),
        ("[" * 10_000, {}, 400),
        ("[" + "{}," * 200_000 + "{}]", {}, 413),
        ("[" + "1," * 800_001 + "1]", {}, 413),
        ("<a>" * 800_001, {"Content-Type": "application/dicom+xml"}, 413),
        (to_json(flat()), {}, 400),
        (to_json(flat(reference("1.2"))).replace('1.2"', '../x"'), {}, 400),
        (to_json(flat(DataSet())), {}, 400),
        ("{}", {"Content-Type": "text/plain"}, 415),
        ("<a/>", {"Content-Type": "application/dicom+xml"}, 400),
        ("{}", {"Accept": "text/html"}, 406),
    ],
)
async def test_bad_requests_are_told_so(door, body: str, headers: dict[str, str], status: int) -> None:
    response = await post(door, body, **headers)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(response.content)["detail"]
    assert (await door.get(PATH)).status_code == 404


async def test_a_transaction_that_is_no_uid_is_400(door) -> None:
    assert (await post(door, "{}", "/commitment-requests/abc")).status_code == 400
