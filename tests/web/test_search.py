"""QIDO-RS over a real port."""

from __future__ import annotations

import json
from io import BytesIO

import pydicom
import pytest

from dicomwire.dicom.data_set import from_json, from_xml
from dicomwire.web.options import WebOptions
from tests.web.support import parts

STUDY_TAGS = [
    "00080020",
    "00080030",
    "00080050",
    "00080061",
    "00080090",
    "00100010",
    "00100020",
    "00100030",
    "00100040",
    "0020000D",
    "00200010",
    "00201206",
    "00201208",
]
JSON = "application/dicom+json"


@pytest.fixture
async def filled(door, make_instance):
    """Two studies: one with two series of two and one instances, one with a single instance."""
    await door.store(
        make_instance(1),
        make_instance(2),
        make_instance(1, series="1.2.3.5"),
        make_instance(1, study="1.2.9", series="1.2.9.1"),
    )
    return door


async def test_a_study_has_every_required_attribute_known_or_not(filled) -> None:
    response = await filled.get("/studies?StudyInstanceUID=1.2.3", JSON)
    assert response.status_code == 200
    assert response.headers["content-type"] == JSON
    (study,) = response.json()
    assert set(STUDY_TAGS) <= set(study)
    assert list(study) == sorted(study)
    assert study["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}
    assert study["00080020"] == {"vr": "DA"}
    assert study["00080056"] == {"vr": "CS", "Value": ["ONLINE"]}
    assert study["00201206"] == {"vr": "IS", "Value": [2]}
    assert study["00201208"] == {"vr": "IS", "Value": [3]}
    assert study["00081190"] == {"vr": "UR", "Value": [f"{filled.base}/studies/1.2.3"]}


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("/studies", 2),
        ("/series", 3),
        ("/instances", 4),
        ("/studies/1.2.3/series", 2),
        ("/studies/1.2.3/instances", 3),
        ("/studies/1.2.3/series/1.2.3.4/instances", 2),
        ("/studies?PatientName=doe*", 2),
        ("/studies?00100020=P1&limit=2", 2),
        ("/studies?limit=5&offset=1", 1),
        ("/instances?StudyInstanceUID=1.2.3,1.2.9&InstanceNumber=1", 3),
        ("/instances?Rows=2", 4),
        ("/studies?PatientName=", 2),
        ("/studies?PatientName=*&fuzzymatching=false", 2),
        ("/series?SeriesInstanceUID=1.2.3.4%5C1.2.3.5", 2),
    ],
)
async def test_resources_find_what_matches(filled, path: str, count: int) -> None:
    response = await filled.get(path, JSON)
    assert response.status_code == 200
    assert len(response.json()) == count
    assert "warning" not in response.headers


@pytest.mark.parametrize(
    ("path", "present", "absent"),
    [
        ("/series", "00100010 0020000E 00080060 00201209", "00080018"),
        ("/studies/1.2.3/series", "0020000D 0020000E 00201209", "00100010 00201206"),
        ("/instances", "00100010 0020000E 00080060 00080018 00280010 00280008", "00280002"),
        ("/studies/1.2.3/instances", "00080060 00080018 0020000D", "00100010"),
        ("/studies/1.2.3/series/1.2.3.4/instances", "00080018 0020000E 00200013", "00080060 00100010"),
        ("/studies/1.2.3/series?includefield=PatientName", "00100010", "00100020"),
        ("/studies/1.2.3/series?includefield=00100010,PatientID", "00100010 00100020", "00100040"),
        ("/studies?includefield=StudyDescription", "00081030", "00101010"),
        ("/instances?includefield=all", "00280002 00083002", ""),
    ],
)
async def test_levels_of_the_answer_follow_the_resource(filled, path: str, present: str, absent: str) -> None:
    response = await filled.get(path, JSON)
    for each in response.json():
        assert set(present.split()) <= set(each)
        assert not set(absent.split()) & set(each)


async def test_retrieve_urls_lead_to_what_was_found(filled) -> None:
    for path in ("/studies", "/series", "/instances"):
        for each in (await filled.get(path, JSON)).json():
            url = each["00081190"]["Value"][0]
            assert url.startswith(filled.base)
            assert (await filled.get(url.removeprefix(filled.base))).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/studies?PatientID=nobody", "/studies?PatientID=' OR 1=1", "/studies/1.9/series", "/series?limit=0"],
)
async def test_nothing_found_is_204_without_a_body(filled, path: str) -> None:
    response = await filled.get(path, JSON)
    assert response.status_code == 204
    assert response.content == b""


@pytest.mark.parametrize(
    "query",
    [
        ".".join(["ReferencedStudySequence"] * 1000) + ".CodeValue=x",
        *("limit=-1", "limit=x", "limit=", "offset=-1", "offset=1.5", "fuzzymatching=maybe"),
        *("StudyDate=2024", "StudyDate=20241301", "StudyInstanceUID=1.2.x"),
        "StudyDate=20240101&TimezoneOffsetFromUTC=UTC",
        *("includefield=NoSuchKeyword", "PatientName=%FF", "PatientName=a%00b"),
    ],
)
async def test_bad_parameters_are_400_with_the_reason(filled, query: str) -> None:
    response = await filled.get(f"/studies?{query}", JSON)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        *((f"{name}=1&{name}=1", name) for name in ("limit", "offset", "PatientID")),
        *((f"{name}=true&{name}=false", name) for name in ("fuzzymatching", "emptyvaluematching")),
        ("ModalitiesInStudy=CT&ModalitiesInStudy=MR", "ModalitiesInStudy"),
        ("PatientID=1&00100020=2", "00100020"),
        (
            "RequestAttributesSequence.ScheduledProcedureStepID=1&00400275.00400009=2",
            "00400275.00400009",
        ),
    ],
)
async def test_what_is_there_twice_is_400_whatever_it_is_called(filled, query: str, name: str) -> None:
    response = await filled.get(f"/series?{query}", JSON)
    assert response.status_code == 400
    assert f"'{name}' is there twice" in response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies/1.2.3/series?StudyInstanceUID=1.2.9", 400),
        ("/studies/1.2.3/instances?0020000D=1.2.9", 400),
        ("/studies/1.2.3/series/1.2.3.4/instances?SeriesInstanceUID=1.2.3.5", 400),
        ("/studies/1.2.3/series?StudyInstanceUID=1.2.9,1.2.3", 200),
        ("/studies/1.2.3/series?StudyInstanceUID=*", 200),
        ("/studies/1.2.3/series?StudyInstanceUID=", 200),
    ],
)
async def test_a_key_never_leads_out_of_the_resource(filled, path: str, status: int) -> None:
    response = await filled.get(path, JSON)
    assert response.status_code == status
    if status == 200:
        assert {each["0020000D"]["Value"][0] for each in response.json()} == {"1.2.3"}
    else:
        assert "the resource is of '1.2.3" in response.json()["detail"]


async def test_fields_may_be_asked_for_one_by_one(filled) -> None:
    query = "includefield=StudyDescription&includefield=00081048&PatientID=*"
    assert (await filled.get(f"/studies?{query}", JSON)).status_code == 200


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("Modality=CT", "Modality"),
        ("PixelData=x", "PixelData"),
        ("includefield=Rows", "Rows"),
        ("NoSuchKeyword=1", "NoSuchKeyword"),
        ("SeriesNumber.=1", "SeriesNumber."),
        ("orderby=StudyDate&_=1700000000", "orderby"),
        ("PatientName.PatientID=P1", "PatientName.PatientID is no attribute"),
    ],
)
async def test_what_is_ignored_is_told(filled, query: str, word: str) -> None:
    response = await filled.get(f"/studies?{query}", JSON)
    assert len(response.json()) == 2
    assert response.headers["warning"].startswith("299 dicomwire ")
    assert word in response.headers["warning"]


@pytest.mark.parametrize("quick", [True, False], ids=["quick", "beside"])
@pytest.mark.parametrize(
    ("path", "total"),
    [
        ("/studies?limit=1", 2),
        ("/studies?limit=1&includefield=all&PatientName=*o*", 2),
        ("/studies?offset=5", 2),
        ("/studies?PatientID=nobody", 0),
    ],
)
async def test_the_number_of_all_matches_is_told(
    filled, monkeypatch: pytest.MonkeyPatch, path: str, total: int, quick: bool
) -> None:
    if not quick:
        monkeypatch.setattr(filled.archive.searches, "quick_total", lambda *_: None)
    response = await filled.get(path, JSON)
    assert response.headers["x-total-count"] == str(total)


async def test_xml_says_what_json_says_a_part_a_result(filled) -> None:
    for path in ("/studies", "/series", "/instances?limit=2"):
        objects = (await filled.get(path, "application/dicom+json")).json()
        response = await filled.get(path, 'multipart/related; type="application/dicom+xml"')
        assert response.status_code == 200
        assert response.headers["content-type"].startswith('multipart/related; type="application/dicom+xml"')
        assert [from_xml(body) for _, body in parts(response)] == [from_json(json.dumps(e)) for e in objects]


async def test_xml_that_is_not_in_parts_is_406(filled) -> None:
    assert (await filled.get("/studies", "application/dicom+xml")).status_code == 406


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("application/dicom+json;q=0, */*;q=0.5", "application/json"),
        ("application/dicom+json;q=0, application/json;q=0, */*", "multipart/related"),
        ('multipart/related; type="application/dicom+xml";q=0, */*', "application/dicom+json"),
        ("application/dicom+json;q=0, application/json;q=0, application/*", None),
    ],
)
async def test_what_is_refused_by_quality_0_is_not_sent_for_a_wild_card(
    filled, accept: str, answered: str | None
) -> None:
    response = await filled.get("/studies", accept)
    assert response.status_code == (406 if answered is None else 200)
    if answered is not None:
        assert response.headers["content-type"].startswith(answered)


def with_values(file: bytes, **values: str) -> bytes:
    """A file with some values more."""
    data_set = pydicom.dcmread(BytesIO(file))
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    changed = BytesIO()
    data_set.save_as(changed)
    return changed.getvalue()


DATED = {"StudyDate": "20240101", "StudyTime": "233000.5"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("StudyDate=20240102&TimezoneOffsetFromUTC=%2B0900", ("20240102", "073000.5", "+0900")),
        ("StudyDate=20240102&TimezoneOffsetFromUTC=+0900", ("20240102", "073000.5", "+0900")),
        ("StudyDate=20240101-&StudyTime=2230-&00080201=-0000", ("20240101", "223000.5", "-0000")),
        ("StudyDate=20240101&TimezoneOffsetFromUTC=%2B0900", None),
        ("StudyDate=20240101&TimezoneOffsetFromUTC=", ("20240101", "233000.5", "+0100")),
        ("TimezoneOffsetFromUTC=%2B0100", ("20240101", "233000.5", "+0100")),
        ("TimezoneOffsetFromUTC=%2B0900", None),
    ],
)
async def test_dates_and_times_are_in_the_time_zone_that_is_named_with_them(
    door, make_instance, query: str, expected: tuple[str, ...] | None
) -> None:
    await door.store(with_values(make_instance().file, TimezoneOffsetFromUTC="+0100", **DATED))
    answer = await door.get("/studies?includefield=TimezoneOffsetFromUTC&" + query, JSON)
    found = answer.json() if answer.content else []
    tags = ("00080020", "00080030", "00080201")
    told = [tuple(each[tag]["Value"][0] for tag in tags) for each in found]
    assert told == ([expected] if expected else [])


async def test_a_study_without_a_time_zone_is_taken_as_it_is_and_told_without_one(
    door, make_instance
) -> None:
    await door.store(with_values(make_instance().file, **DATED))
    query = "/studies?StudyDate=20240101&TimezoneOffsetFromUTC=%2B0900"
    (study,) = (await door.get(query, JSON)).json()
    assert study["00080020"] == {"vr": "DA", "Value": ["20240101"]}
    assert study["00080201"] == {"vr": "SH"}


async def test_pages_cover_everything_once(filled) -> None:
    pages = [(await filled.get(f"/instances?limit=1&offset={n}", JSON)).json() for n in range(4)]
    assert len({page[0]["00080018"]["Value"][0] for page in pages}) == 4
    assert (await filled.get("/instances?limit=1&offset=99999999999999999999", JSON)).status_code == 204


class TestCap:
    @pytest.fixture
    def web_options(self):
        return WebOptions(maximum_results=3)

    @pytest.mark.parametrize(
        ("query", "told"), [("", True), ("?limit=9", True), ("?limit=3", True), ("?offset=1", False)]
    )
    async def test_a_cut_answer_says_so(self, filled, query: str, told: bool) -> None:
        response = await filled.get("/instances" + query, JSON)
        assert len(response.json()) == 3
        assert ("warning" in response.headers) is told
