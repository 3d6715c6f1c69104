"""Retrieve Capabilities (PS3.18 8.9)."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from dicomwire.archive.transcoder import Transcoder
from dicomwire.web.app import routes
from dicomwire.web.capabilities import NAMESPACE, TRANSACTIONS
from dicomwire.web.options import WebOptions

WADL = "application/vnd.sun.wadl+xml"


@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
async def test_the_root_describes_every_resource_in_wadl(door, method: str) -> None:
    response = await door.client.request(method, door.base + "/", headers={"Accept": WADL})
    assert response.status_code == 200
    assert response.headers["content-type"] == WADL
    (resources,) = ElementTree.fromstring(response.content)
    assert resources.get("base") == door.base + "/"
    described = {each.get("path"): {method.get("name") for method in each} for each in resources}
    assert described["studies"] == {"GET", "POST"}
    assert described["studies/{study}/series/{series}/instances/{instance}/frames/{frames}"] == {"GET"}
    assert resources.tag == f"{{{NAMESPACE}}}resources"


async def test_every_method_has_an_id_of_its_own(door) -> None:
    """WADL's ids are xsd:ID; the names are those of Table H-1."""
    resources = ElementTree.fromstring((await door.get("/", WADL)).content)[0]
    ids = {(each.get("path"), method.get("name")): method.get("id") for each in resources for method in each}
    assert len(set(ids.values())) == len(ids)
    assert all(str(each).isidentifier() for each in ids.values())
    instance = "studies/{study}/series/{series}/instances/{instance}"
    expected = {
        ("studies", "GET"): "SearchForStudies",
        ("studies", "POST"): "StoreInstances",
        ("studies/{study}", "GET"): "RetrieveStudy",
        ("studies/{study}", "POST"): "StoreStudyInstances",
        ("studies/{study}/metadata", "GET"): "RetrieveStudyMetadata",
        ("studies/{study}/rendered", "GET"): "RetrieveRenderedStudy",
        ("studies/{study}/series", "GET"): "SearchForStudySeries",
        ("studies/{study}/series/{series}/instances", "GET"): "SearchForStudySeriesInstances",
        (f"{instance}/frames/{{frames}}", "GET"): "RetrieveFrames",
        (f"{instance}/pixeldata", "GET"): "RetrieveInstancePixelData",
        (f"{instance}/bulkdata/{{path}}", "GET"): "RetrieveBulkdata",
        ("instances", "GET"): "SearchForInstances",
        ("workitems", "GET"): "SearchForWorkitem",
    }
    assert expected.items() <= ids.items()


async def test_json_describes_the_same(door) -> None:
    xml = ElementTree.fromstring((await door.get("/", WADL)).content)[0]
    found = (await door.get("/", "application/json")).json()["application"]["resources"]
    assert [each["@path"] for each in found["resource"]] == [each.get("path") for each in xml]
    (store,) = [each for each in found["resource"][0]["method"] if each["@name"] == "POST"]
    assert {"@mediaType": 'multipart/related; type="application/dicom"'} in store["request"]["representation"]


async def test_what_is_described_is_given(door, make_instance) -> None:
    """Every media type of a picture and of a single frame; lossless ones can be made of any image."""
    await door.store(make_instance())
    instance = "/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1"
    for media_type in TRANSACTIONS["GET", "rendered"].gives:
        if media_type.startswith("image/"):
            assert (await door.get(f"{instance}/rendered", media_type)).status_code == 200, media_type
    given = TRANSACTIONS["GET", "{frames}"].gives
    for media_type in ("application/octet-stream", "image/jls", "image/jp2", "image/jphc", "image/dicom-rle"):
        assert {media_type, f'multipart/related; type="{media_type}"'} <= set(given)
        assert (await door.get(f"{instance}/frames/1", media_type)).status_code == 200, media_type


async def test_every_route_has_its_transaction(archive, work) -> None:
    for path, resource in routes(archive, WebOptions(delete=True), Transcoder(archive), work).items():
        last = path.rpartition("/")[2]
        methods = {method.strip() for method in resource.allow.split(",")} - {"HEAD", "OPTIONS"}
        assert not last or {(method, last) for method in methods} <= TRANSACTIONS.keys(), path


async def test_what_is_neither_is_406(door) -> None:
    assert (await door.get("/", "text/html")).status_code == 406


@pytest.mark.parametrize("kind", ["renderedmpr", "rendered3d"])
@pytest.mark.parametrize("below", ["", "/series/1.2.3.4", "/series/1.2.3.4/instances/1.2.3.4.1"])
async def test_volumes_are_not_rendered_and_nothing_says_so(
    door, make_instance, kind: str, below: str
) -> None:
    await door.store(make_instance())
    response = await door.get(f"/studies/1.2.3{below}/{kind}", "image/jpeg")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert f"there is no resource '/dicom-web/studies/1.2.3{below}/{kind}'" in response.json()["detail"]
    assert kind not in (await door.get("/")).text


async def test_every_media_type_of_rendered_resources_is_named(door) -> None:
    described = (await door.get("/", "application/json")).json()["application"]["resources"]["resource"]
    (rendered,) = [each for each in described if each["@path"] == "studies/{study}/rendered"]
    types = {each["@mediaType"] for each in rendered["method"][0]["response"]["representation"]}
    single = {"image/jpeg", "image/gif", "image/png"}
    assert single | {"text/html", "text/plain", "text/xml", "application/pdf", "video/mp4"} <= types
