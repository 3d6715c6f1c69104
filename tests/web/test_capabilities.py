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


async def test_json_describes_the_same(door) -> None:
    xml = ElementTree.fromstring((await door.get("/", WADL)).content)[0]
    found = (await door.get("/", "application/json")).json()["application"]["resources"]
    assert [each["@path"] for each in found["resource"]] == [each.get("path") for each in xml]
    (store,) = [each for each in found["resource"][0]["method"] if each["@name"] == "POST"]
    assert {"@mediaType": 'multipart/related; type="application/dicom"'} in store["request"]["representation"]


async def test_every_route_has_its_transaction(archive, work) -> None:
    for path, resource in routes(archive, WebOptions(delete=True), Transcoder(archive), work).items():
        last = path.rpartition("/")[2]
        methods = {method.strip() for method in resource.allow.split(",")} - {"HEAD", "OPTIONS"}
        assert not last or {(method, last) for method in methods} <= TRANSACTIONS.keys(), path


async def test_what_is_neither_is_406(door) -> None:
    assert (await door.get("/", "text/html")).status_code == 406
