"""ImagingStudy of FHIR, over a real port."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from dicomwire.archive.archive import Archive
from dicomwire.web import fhir
from dicomwire.web.app import build
from dicomwire.web.options import WebOptions
from dicomwire.web.server import Server, bind
from tests.web.conftest import Door, element

R5 = "application/fhir+json; fhirVersion=5.0"


@pytest.fixture
async def door(archive: Archive, web_options: WebOptions) -> AsyncIterator[Door]:
    app = Starlette(
        routes=[
            Mount("/dicom-web", app=build(archive, web_options)),
            Mount("/fhir", app=fhir.build(archive, web_options, dicomweb="/dicom-web")),
        ]
    )
    server = Server(app)
    await server.start(bind("127.0.0.1", 0))
    port = server.addresses[0][1]
    async with httpx.AsyncClient(timeout=20) as client:
        yield Door(archive, client, f"http://127.0.0.1:{port}/dicom-web", port, server)
    await server.stop()


async def fill(door: Door, make_instance) -> str:
    """Two studies; returns the base URL of FHIR."""
    described = b"".join(
        (
            element(0x00080020, "DA", b"20240531"), element(0x00080030, "TM", b"101112.5"),
            element(0x00080050, "SH", b"A1"), element(0x00080060, "CS", b"CT"),
            element(0x00080090, "PN", b"Ref^Erring^^Dr"), element(0x00080201, "SH", b"+0100"),
            element(0x00081030, "LO", b"Chest"), element(0x0008103E, "LO", b"Axial"),
            element(0x00180015, "CS", b"CHEST"), element(0x00200011, "IS", b"3"),
        )
    )  # fmt: skip
    stored = await door.store(
        make_instance(2, extra=described),
        make_instance(1, extra=described),
        make_instance(1, study="1.9", series="1.9.1", extra=element(0x00080020, "DA", b"20200101")),
    )
    assert stored.status_code == 200
    return door.base.replace("/dicom-web", "/fhir")


async def test_a_study_is_read_by_its_uid_in_r4(door, make_instance) -> None:
    base = await fill(door, make_instance)
    response = await door.client.get(f"{base}/ImagingStudy/1.2.3")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/fhir+json; fhirVersion=4.0"
    study = response.json()
    assert study.pop("contained") == [
        {
            "resourceType": "Endpoint",
            "id": "wado-rs",
            "status": "active",
            "connectionType": {
                "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
                "code": "dicom-wado-rs",
            },
            "payloadType": [{"text": "DICOM WADO-RS"}],
            "address": door.base,
        }
    ]
    (series,) = study.pop("series")
    dcm = "http://dicom.nema.org/resources/ontology/DCM"
    assert study == {
        "resourceType": "ImagingStudy",
        "id": "1.2.3",
        "identifier": [
            {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"},
            {
                "type": {
                    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]
                },
                "value": "A1",
            },
        ],
        "status": "available",
        "modality": [{"system": dcm, "code": "CT"}],
        "subject": {"type": "Patient", "identifier": {"value": "P1"}, "display": "Jane Doe"},
        "started": "2024-05-31T10:11:12+01:00",
        "referrer": {"display": "Dr Erring Ref"},
        "endpoint": [{"reference": "#wado-rs"}],
        "numberOfSeries": 1,
        "numberOfInstances": 2,
        "description": "Chest",
    }
    instances = series.pop("instance")
    assert series == {
        "uid": "1.2.3.4",
        "number": 3,
        "modality": {"system": dcm, "code": "CT"},
        "description": "Axial",
        "numberOfInstances": 2,
        "bodySite": {"display": "CHEST"},
    }
    assert [(each["uid"], each["number"]) for each in instances] == [("1.2.3.4.1", 1), ("1.2.3.4.2", 2)]
    assert instances[0]["sopClass"] == {
        "system": "urn:ietf:rfc:3986",
        "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2",
    }


async def test_r5_where_the_client_names_it(door, make_instance) -> None:
    base = await fill(door, make_instance)
    response = await door.client.get(f"{base}/ImagingStudy/1.2.3", headers={"Accept": R5})
    assert response.headers["content-type"] == R5
    study = response.json()
    assert study["modality"][0]["coding"][0]["code"] == "CT"
    assert study["series"][0]["modality"]["coding"][0]["code"] == "CT"
    assert study["series"][0]["bodySite"] == {"concept": {"text": "CHEST"}}
    assert study["contained"][0]["connectionType"][0]["coding"][0]["code"] == "dicom-wado-rs"
    assert study["contained"][0]["payload"] == [{"type": [{"text": "DICOM WADO-RS"}]}]
    assert (await door.client.get(f"{base}/metadata", headers={"Accept": R5})).json()[
        "fhirVersion"
    ] == "5.0.0"


SEARCHES = [
    ("", ["1.2.3", "1.9"]),
    ("_id=1.2.3", ["1.2.3"]),
    ("_id=1.2.3,1.9", ["1.2.3", "1.9"]),
    ("identifier=urn:dicom:uid%7Curn:oid:1.9", ["1.9"]),
    ("identifier=urn:oid:1.9", ["1.9"]),
    ("identifier=A1", ["1.2.3"]),
    ("identifier=http://x%7CA1", ["1.2.3"]),
    ("patient=Patient/P1", ["1.2.3", "1.9"]),
    ("subject=P2", []),
    ("patient.identifier=P1", ["1.2.3", "1.9"]),
    *((f"{name}=P2", []) for name in ("patient.identifier", "patient:identifier", "subject:identifier")),
    ("subject.identifier=P1", ["1.2.3", "1.9"]),
    ("modality=CT", ["1.2.3"]),
    ("modality=http://dicom.nema.org/resources/ontology/DCM%7CMR,CT", ["1.2.3"]),
    ("started=2024-05-31", ["1.2.3"]),
    ("started=2024-05", ["1.2.3"]),
    ("started=2020", ["1.9"]),
    ("started=ge2020-01-01", ["1.2.3", "1.9"]),
    ("started=gt2020-01-01", ["1.2.3"]),
    ("started=lt2024", ["1.9"]),
    ("started=ge2020&started=le2020-12-31", ["1.9"]),
    ("started=gt2024-05-31", []),
    ("started=sa2020-01-01", ["1.2.3"]),
    ("started=eb2024", ["1.9"]),
    ("status=available", ["1.2.3", "1.9"]),
    ("status=cancelled,registered", []),
    ("series=1.2.3.4", ["1.2.3"]),
    ("series=urn:oid:1.2.3.4&modality=MR", []),
    ("series=9.9", []),
    ("instance=urn:oid:1.2.3.4.1", ["1.2.3"]),
    ("dicom-class=urn:oid:1.2.840.10008.5.1.4.1.1.2", ["1.2.3", "1.9"]),
    ("dicom-class=1.2.840.10008.5.1.4.1.1.4", []),
    ("unknown=1&_sort=-started", ["1.2.3", "1.9"]),
]


@pytest.mark.parametrize(("query", "expected"), SEARCHES)
async def test_each_search_parameter_finds_its_studies(door, make_instance, query: str, expected) -> None:
    base = await fill(door, make_instance)
    response = await door.client.get(f"{base}/ImagingStudy?{query}")
    assert response.status_code == 200, response.text
    bundle = response.json()
    found = [entry["resource"]["id"] for entry in bundle.get("entry", [])]
    assert sorted(found) == expected
    assert bundle["total"] == len(expected)
    assert all(
        entry["fullUrl"] == f"{base}/ImagingStudy/{entry['resource']['id']}"
        for entry in bundle.get("entry", [])
    )


async def test_what_is_passed_over_is_not_in_the_self_link_and_400_when_handling_is_strict(
    door, make_instance
) -> None:
    base = await fill(door, make_instance)
    url = f"{base}/ImagingStudy?unknown=1&patient=P1"
    bundle = (await door.client.get(url)).json()
    assert bundle["link"][0]["url"] == f"{base}/ImagingStudy?patient=P1"
    strict = await door.client.get(url, headers={"Prefer": "handling=strict"})
    assert strict.status_code == 400
    assert "'unknown'" in strict.json()["issue"][0]["diagnostics"]


async def test_a_count_is_all_that_some_want(door, make_instance) -> None:
    base = await fill(door, make_instance)
    bundle = (await door.client.get(f"{base}/ImagingStudy?_summary=count")).json()
    assert bundle["total"] == 2
    assert "entry" not in bundle


@pytest.mark.parametrize(
    ("summary", "without"),
    [("true", set()), ("text", {"contained", "identifier", "series", "started"}), ("data", None)],
)
async def test_a_summary_is_tagged_and_names_no_instances(
    door, make_instance, summary: str, without: set[str] | None
) -> None:
    base = await fill(door, make_instance)
    whole = (await door.client.get(f"{base}/ImagingStudy/1.2.3")).json()
    read = (await door.client.get(f"{base}/ImagingStudy/1.2.3?_summary={summary}")).json()
    found = (await door.client.get(f"{base}/ImagingStudy?_id=1.2.3&_summary={summary}")).json()
    assert found["entry"][0]["resource"] == read
    if without is None:
        assert read == whole
        return
    assert read.pop("meta")["tag"][0]["code"] == "SUBSETTED"
    assert not without & read.keys()
    assert read.items() <= {**whole, "series": read.get("series")}.items()
    assert all(each.keys() == whole["series"][0].keys() - {"instance"} for each in read.get("series", []))


async def test_a_search_may_be_a_form(door, make_instance) -> None:
    base = await fill(door, make_instance)
    found = await door.client.post(f"{base}/ImagingStudy/_search", data={"modality": "CT"})
    assert [entry["resource"]["id"] for entry in found.json()["entry"]] == ["1.2.3"]
    refused = await door.client.post(f"{base}/ImagingStudy/_search", json={"modality": "CT"})
    assert refused.status_code == 415
    assert refused.json()["resourceType"] == "OperationOutcome"


async def test_pages_are_linked(door, make_instance) -> None:
    base = await fill(door, make_instance)
    url: str | None = f"{base}/ImagingStudy?_count=1&patient=P1"
    found = []
    while url:
        bundle = (await door.client.get(url)).json()
        assert bundle["total"] == 2
        found += [entry["resource"]["id"] for entry in bundle["entry"]]
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    assert sorted(found) == ["1.2.3", "1.9"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/ImagingStudy/1.2.4", 404, "not-found"),
        ("/ImagingStudy/no", 404, "not-found"),
        ("/ImagingStudy?series=1.2.3.4&_id=1.2.3", 400, "invalid"),
        ("/ImagingStudy?started=yesterday", 400, "invalid"),
        ("/ImagingStudy?started=2024-02-31", 400, "invalid"),
        ("/ImagingStudy?started=lt0001", 400, "invalid"),
        ("/ImagingStudy?_id=a|", 400, "invalid"),
        ("/ImagingStudy?_id=" + "9" * 70, 400, "invalid"),
        ("/ImagingStudy?_count=-1", 400, "invalid"),
        ("/ImagingStudy?_count=1&_count=2", 400, "invalid"),
        ("/ImagingStudy?_id=1.2&_id=1.3", 400, "invalid"),
        ("/ImagingStudy?patient=a&subject=b", 400, "invalid"),
        ("/ImagingStudy?modality:not=CT", 400, "invalid"),
        ("/ImagingStudy?patient.name=Doe", 400, "invalid"),
        ("/ImagingStudy?patient.identifier=P*", 400, "invalid"),
        ("/ImagingStudy?_summary=all", 400, "invalid"),
        ("/Patient", 404, "not-found"),
        ("/%zz", 400, None),
    ],
)
async def test_bad_requests_are_answered_with_an_outcome(
    door, path: str, status: int, code: str | None
) -> None:
    response = await door.client.get(door.base.replace("/dicom-web", "/fhir") + path)
    assert response.status_code == status, response.text
    if code is not None:
        assert response.json()["resourceType"] == "OperationOutcome"
        assert response.json()["issue"][0]["code"] == code


async def test_a_study_that_was_removed_is_gone(door, make_instance) -> None:
    base = await fill(door, make_instance)
    door.archive.remove(door.archive.plan(study="1.2.3"))
    response = await door.client.get(f"{base}/ImagingStudy/1.2.3")
    assert response.status_code == 410
    assert response.json()["issue"][0]["code"] == "deleted"
    assert (await door.client.get(f"{base}/ImagingStudy/1.2.3.9")).status_code == 404


async def test_another_version_of_fhir_is_406(door) -> None:
    accept = {"Accept": "application/fhir+json; fhirVersion=3.0"}
    response = await door.client.get(door.base.replace("/dicom-web", "/fhir") + "/metadata", headers=accept)
    assert response.status_code == 406


@pytest.mark.parametrize(
    ("given", "version"),
    [
        ("json", "4.0"),
        ("application/fhir%2Bjson;%20fhirVersion=5.0", "5.0"),
        ("application/fhir+json", "4.0"),
        ("xml", None),
        ("application/fhir%2Bxml", None),
    ],
)
async def test_a_format_in_the_query_stands_for_accept(
    door, make_instance, given: str, version: str | None
) -> None:
    await door.store(make_instance())
    url = door.base.replace("/dicom-web", "/fhir") + "/ImagingStudy/1.2.3?_format=" + given
    response = await door.client.get(url, headers={"Accept": "application/fhir+xml"})
    if version is None:
        assert response.status_code == 406
        assert "_format is " in response.json()["issue"][0]["diagnostics"]
    else:
        assert response.headers["content-type"] == f"application/fhir+json; fhirVersion={version}"


class TestOfOtherOrigins:
    @pytest.fixture
    def web_options(self) -> WebOptions:
        return WebOptions(cors_origins=("https://viewer.example",))

    async def test_named_origins_read_fhir_too(self, door) -> None:
        url = door.base.removesuffix("/dicom-web") + "/fhir/ImagingStudy"
        named = await door.client.get(url, headers={"Origin": "https://viewer.example"})
        assert named.headers["access-control-allow-origin"] == "https://viewer.example"
        other = await door.client.get(url, headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
