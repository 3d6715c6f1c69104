"""DICOMweb in front of a DIMSE archive: another node's DIMSE door."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
import pytest_asyncio

from dicomwire.dicom.identifier import Key
from dicomwire.gateway.peer import Questions
from dicomwire.services.find_request import Agreed
from dicomwire.services.models import Level
from tests.gateway.support import Running, gateway_to, make, running, stow
from tests.web.conftest import CT

pytestmark = pytest.mark.asyncio(loop_scope="module")

STUDY, SERIES = "1.2.3", "1.2.3.4"
OTHER = make(1, study="1.2.5", series="1.2.5.1")
INSTANCES = [make(number) for number in (1, 2, 3)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pacs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    folder = tmp_path_factory.mktemp("pacs")
    async with running(
        folder, node={"ae_title": "PACS"}, dimse={"port": 0, "calling_ae_title": "off"}
    ) as node:
        assert (await stow(node.http, OTHER.file, *(each.file for each in INSTANCES))).status_code == 200
        yield node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(pacs: Running, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with gateway_to(tmp_path_factory.mktemp("gateway"), pacs.dimse_port) as node:
        yield node


@asynccontextmanager
async def answering(data: bytes) -> AsyncIterator[int]:
    """A port where whatever is asked is answered by these bytes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def values(answer: object, tag: str) -> list[object]:
    assert isinstance(answer, list)
    return [each[tag].get("Value", [None])[0] for each in answer]


async def test_studies_are_found_at_the_peer(gateway: Running) -> None:
    answer = await gateway.http.get("studies", params={"PatientID": "P1"})
    assert answer.status_code == 200
    found = answer.json()
    assert sorted(values(found, "0020000D")) == [STUDY, "1.2.5"]
    assert values(found, "00201208") in ([3, 1], [1, 3])
    assert all("00080052" not in each for each in found)
    (url,) = (each["00081190"]["Value"][0] for each in found if each["0020000D"]["Value"] == [STUDY])
    assert url == str(gateway.http.base_url.join(f"studies/{STUDY}"))


async def test_the_peer_is_asked_in_the_time_zone_that_is_named(tmp_path: Path) -> None:
    dated = pydicom.dcmread(BytesIO(OTHER.file))
    dated.StudyDate, dated.StudyTime, dated.TimezoneOffsetFromUTC = "20240101", "233000", "+0100"
    file = BytesIO()
    dated.save_as(file)
    async with running(tmp_path / "pacs", dimse={"port": 0, "calling_ae_title": "off"}) as pacs:
        assert (await stow(pacs.http, file.getvalue())).status_code == 200
        async with gateway_to(tmp_path / "gateway", pacs.dimse_port) as node:
            zone = {"TimezoneOffsetFromUTC": "+0900"}
            found = await node.http.get("studies", params={"StudyDate": "20240102", **zone})
            assert (values(found.json(), "00080020"), values(found.json(), "00080201")) == (
                ["20240102"],
                ["+0900"],
            )
            assert (
                await node.http.get("studies", params={"StudyDate": "20240101", **zone})
            ).status_code == 204


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("studies/1.2.3/series", 1),
        ("studies/1.2.3/instances", 3),
        ("studies/1.2.3/series/1.2.3.4/instances", 3),
        ("series?PatientID=P1", 2),
        ("instances?PatientID=P1", 4),
        ("instances?PatientID=P1&limit=2", 2),
        ("instances?PatientID=P1&limit=5&offset=3", 1),
        ("instances?SOPInstanceUID=1.2.3.4.1,1.2.3.4.2", 2),
        ("studies?PatientName=do*&fuzzymatching=true&includefield=PatientComments", 2),
    ],
)
async def test_every_level_can_be_searched(gateway: Running, path: str, count: int) -> None:
    answer = await gateway.http.get(path)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()) == count


async def test_a_peer_without_relational_queries_is_asked_level_by_level(
    gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Level] = []
    find = Questions.find

    def counted(self: Questions, keys: Sequence[Key], level: Level, enough: Callable[[], bool]) -> object:
        asked.append(level)
        return find(self, keys, level, enough)

    monkeypatch.setattr(Questions, "find", counted)
    monkeypatch.setattr("dicomwire.gateway.peer.agreed", lambda answer: Agreed())
    answer = await gateway.http.get("instances", params={"PatientID": "P1", "SeriesInstanceUID": SERIES})
    assert sorted(asked) == [Level.STUDY, Level.SERIES, Level.SERIES, Level.IMAGE]
    found = answer.json()
    assert sorted(values(found, "00080018")) == [each.sop_instance_uid for each in INSTANCES]
    assert values(found, "00201208") == [3, 3, 3], "studies' attributes are there too"
    asked.clear()
    assert len((await gateway.http.get(f"studies/{STUDY}/series/{SERIES}/instances?limit=2")).json()) == 2
    assert asked == [Level.IMAGE]
    monkeypatch.setattr("dicomwire.gateway.search.MOST_PARENTS", 1)
    assert (await gateway.http.get("instances")).status_code == 413


async def test_nothing_found_is_204_and_xml_is_spoken(gateway: Running) -> None:
    assert (await gateway.http.get("studies?PatientID=nobody")).status_code == 204
    answer = await gateway.http.get(
        "studies", headers={"Accept": 'multipart/related; type="application/dicom+xml"'}
    )
    assert answer.content.count(b"<NativeDicomModel") == 2


async def test_what_a_page_leaves_out_is_told(gateway: Running) -> None:
    answer = await gateway.http.get("instances?PatientID=P1&limit=2")
    assert "additional results" in answer.headers["warning"]
    assert (await gateway.http.get("instances?PatientID=P1")).headers["x-total-count"] == "4"


async def test_a_study_comes_as_it_is_stored_there(gateway: Running) -> None:
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    answers = await asyncio.gather(
        *(gateway.http.get(f"studies/{STUDY}", headers={"Accept": accept}) for _ in range(4))
    )
    for answer in answers:
        assert answer.status_code == 200
        for each in INSTANCES:
            assert each.data_set in answer.content


async def test_metadata_frames_and_wado_uri_come_through(gateway: Running) -> None:
    study = "studies/1.2.5"
    metadata = (await gateway.http.get(f"{study}/metadata")).json()
    assert values(metadata, "00080018") == ["1.2.5.1.1"]
    frame = await gateway.http.get(
        f"{study}/series/1.2.5.1/instances/1.2.5.1.1/frames/1",
        headers={"Accept": "multipart/related; type=application/octet-stream"},
    )
    assert b"\1\2\3\4\5\6\7\x08" in frame.content
    wado = {"requestType": "WADO", "studyUID": "1.2.5", "seriesUID": "1.2.5.1", "objectUID": "1.2.5.1.1"}
    answer = await gateway.http.get("wado", params={**wado, "contentType": "application/dicom"})
    assert answer.status_code == 200
    assert OTHER.data_set in answer.content


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("studies/1.2.999/metadata", 404),
        ("studies/1.2.3/series/1.2.3.4/instances/1.2.999", 404),
        ("studies/1.2.x", 400),
        ("studies?limit=-1", 400),
        ("studies?includefield=NoSuchKeyword", 400),
        ("studies?StudyInstanceUID=../..", 400),
        ("studies?StudyDate=99999999", 400),
        ("nothing", 404),
    ],
)
async def test_what_cannot_be_has_a_problem_document(gateway: Running, path: str, status: int) -> None:
    answer = await gateway.http.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_what_is_stored_goes_on_to_the_peer(gateway: Running, pacs: Running) -> None:
    new, broken = make(1, study="1.2.7", series="1.2.7.1"), b"no DICOM"
    answer = await stow(gateway.http, new.file, broken)
    assert answer.status_code == 202
    assert answer.json()["00081199"]["Value"][0]["00081155"]["Value"] == ["1.2.7.1.1"]
    assert len(answer.json()["0008119A"]["Value"]) == 1
    assert len((await pacs.http.get("studies/1.2.7/metadata")).json()) == 1
    assert (await pacs.http.get("studies/1.2.7/series")).status_code == 200


async def test_the_peers_warning_is_told(gateway: Running) -> None:
    for frame, status in ((b"\1" * 8, 200), (b"\2" * 8, 202)):
        answer = await stow(gateway.http, make(1, study="1.2.12", series="1.2.12.1", frames=(frame,)).file)
        assert answer.status_code == status, answer.text
    (stored,) = answer.json()["00081199"]["Value"]
    assert stored["00081196"]["Value"] == [0xB000]
    frame_url = "studies/1.2.12/series/1.2.12.1/instances/1.2.12.1.1/frames/1"
    frame = await gateway.http.get(frame_url, headers={"Accept": "application/octet-stream"})
    assert frame.content == b"\1" * 8, "the peer keeps the first, so it is the first that is shown"


async def test_what_the_peer_has_no_context_for_is_refused_and_not_kept(tmp_path: Path) -> None:
    dimse = {"port": 0, "calling_ae_title": "off", "refused_sop_classes": [CT]}
    async with (
        running(tmp_path / "p", node={"ae_title": "PACS"}, dimse=dimse) as pacs,
        gateway_to(tmp_path / "g", pacs.dimse_port) as gateway,
    ):
        answer = await stow(gateway.http, INSTANCES[0].file)
        assert answer.status_code == 409
        (failed,) = answer.json()["00081198"]["Value"]
        assert failed["00081197"]["Value"] == [0x0122]
        (kept,) = gateway.node._gateways._gateways
        assert list(kept.cache.archive.plan_all()) == []


async def test_what_came_later_at_the_peer_is_brought(pacs: Running, tmp_path: Path) -> None:
    async with gateway_to(tmp_path, pacs.dimse_port, fresh=0.001) as gateway:
        study = "studies/1.2.8"
        await stow(pacs.http, make(1, study="1.2.8", series="1.2.8.1").file)
        assert len((await gateway.http.get(f"{study}/metadata")).json()) == 1
        await stow(pacs.http, make(2, study="1.2.8", series="1.2.8.1").file)
        assert len((await gateway.http.get(f"{study}/metadata")).json()) == 2


async def test_a_full_cache_forgets_the_study_unused_for_longest(pacs: Running, tmp_path: Path) -> None:
    async with gateway_to(tmp_path, pacs.dimse_port, size=0) as gateway:
        for study in ("1.2.3", "1.2.5"):
            assert (await gateway.http.get(f"studies/{study}/metadata")).status_code == 200
        (kept,) = gateway.node._gateways._gateways
        assert {each.study_instance_uid for each in kept.cache.archive.plan_all()} == {"1.2.5"}


async def test_a_peer_moves_to_the_gateways_own_ae_title(tmp_path: Path) -> None:
    dimse = {"port": 0, "calling_ae_title": "off"}
    async with gateway_to(tmp_path / "g", 1, retrieve="move", ae_title="CACHE") as gateway:
        back = {"ae_title": "CACHE", "host": "127.0.0.1", "port": gateway.dimse_port}
        async with running(tmp_path / "p", node={"ae_title": "PACS"}, dimse=dimse, peers=[back]) as pacs:
            await stow(pacs.http, *(each.file for each in INSTANCES))
            port = pacs.dimse_port
    async with gateway_to(tmp_path / "g", port, retrieve="move", ae_title="CACHE") as gateway:
        back = {"ae_title": "CACHE", "host": "127.0.0.1", "port": gateway.dimse_port}
        again = {**dimse, "port": port}
        async with running(tmp_path / "p", node={"ae_title": "PACS"}, dimse=again, peers=[back]):
            answer = await gateway.http.get(f"studies/{STUDY}/metadata")
            assert answer.status_code == 200, answer.text
            assert len(answer.json()) == 3
            own = await gateway.http.get(f"{gateway.url}/studies")
            assert own.status_code == 204, "what is moved to the gateway is none of the node's archive"


@pytest.mark.parametrize("path", ["studies", "studies/1.2.3", "studies/1.2.3/series/1.2.3.4/metadata"])
async def test_a_peer_that_is_gone_is_502(tmp_path: Path, path: str) -> None:
    async with gateway_to(tmp_path, 1) as gateway:
        answer = await gateway.http.get(path)
        assert answer.status_code == 502
        problem = json.loads(answer.content)
        assert problem["detail"].startswith("PACS, association for C-FIND: unreachable")


def kept_by(gateway: Running) -> list[object]:
    (kept,) = gateway.node._gateways._gateways
    return list(kept.cache.archive.plan_all())


async def test_storing_at_a_peer_that_is_gone_is_502_and_nothing_is_kept(tmp_path: Path) -> None:
    async with gateway_to(tmp_path, 1) as gateway:
        answer = await stow(gateway.http, *(each.file for each in INSTANCES))
        assert answer.status_code == 502
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "30"
        assert answer.json()["detail"].startswith("PACS, C-STORE: unreachable: 127.0.0.1:1 refuses")
        assert kept_by(gateway) == []


async def test_storing_at_a_peer_that_rejects_for_good_is_502_without_a_time_to_come_back(
    tmp_path: Path,
) -> None:
    dimse = {"port": 0, "called_ae_title": "own", "calling_ae_title": "off"}
    async with (
        running(tmp_path / "p", node={"ae_title": "OTHER"}, dimse=dimse) as pacs,
        gateway_to(tmp_path / "g", pacs.dimse_port) as gateway,
    ):
        answer = await stow(gateway.http, INSTANCES[0].file)
        assert answer.status_code == 502
        assert "PACS, C-STORE: association rejected" in answer.json()["detail"]
        assert "retry-after" not in answer.headers
        assert kept_by(gateway) == []


async def test_storing_at_a_peer_that_rejects_for_now_may_be_tried_again(tmp_path: Path) -> None:
    congested = bytes.fromhex("0300 00000004 00 02 03 01")  # rejected-transient, temporary congestion
    async with answering(congested) as port, gateway_to(tmp_path, port) as gateway:
        answer = await stow(gateway.http, INSTANCES[0].file)
        assert answer.status_code == 502
        assert answer.headers["retry-after"] == "30"


async def test_storing_at_a_peer_that_says_nothing_is_504(tmp_path: Path) -> None:
    async with answering(b"") as port, gateway_to(tmp_path, port, timeouts={"artim": 0.1}) as gateway:
        answer = await stow(gateway.http, INSTANCES[0].file)
        assert answer.status_code == 504
        assert answer.json()["detail"].startswith("PACS, C-STORE: no answer in time")
        assert answer.headers["retry-after"] == "30"
        assert kept_by(gateway) == []


async def test_an_instance_that_a_peer_was_not_asked_for_does_not_hide_that_the_peer_is_gone(
    tmp_path: Path,
) -> None:
    async with gateway_to(tmp_path, 1) as gateway:
        assert (await stow(gateway.http, b"no DICOM", INSTANCES[0].file)).status_code == 502
        assert (await stow(gateway.http, b"no DICOM")).status_code == 409, "nothing was to be sent"


async def test_a_peer_that_refuses_is_502_with_its_reason(tmp_path: Path) -> None:
    dimse = {"port": 0, "called_ae_title": "own", "calling_ae_title": "off"}
    async with (
        running(tmp_path / "p", node={"ae_title": "OTHER"}, dimse=dimse) as pacs,
        gateway_to(tmp_path / "g", pacs.dimse_port) as gateway,
    ):
        answer = await gateway.http.get("studies")
        assert answer.status_code == 502
        assert "association rejected" in answer.json()["detail"]


async def test_a_peer_that_says_nothing_is_504(tmp_path: Path) -> None:
    async with answering(b"") as port, gateway_to(tmp_path, port, timeouts={"artim": 0.1}) as gateway:
        answer = await gateway.http.get("studies")
        assert answer.status_code == 504
        assert "no answer in time" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "30"


async def test_a_peer_without_queries_is_502(tmp_path: Path) -> None:
    only = {"ae_title": "GATEWAY", "allow": ["echo", "store"]}
    async with (
        running(tmp_path / "p", node={"ae_title": "PACS"}, peers=[only]) as pacs,
        gateway_to(tmp_path / "g", pacs.dimse_port) as gateway,
    ):
        answer = await gateway.http.get("studies")
        assert answer.status_code == 502, answer.text
        assert "no presentation context" in answer.json()["detail"]
