"""`dicomwire web`, against a node in another thread."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file

from dicomwire.node.node import Node
from dicomwire.node.settings import Settings
from dicomwire.web.client import WebClient
from tests.cli.conftest import Run
from tests.elsewhere import Elsewhere

CT = Path(str(get_testdata_file("CT_small.dcm")))
STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
SERIES = "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with service(tmp_path_factory.mktemp("node")) as url:
        yield url


@contextmanager
def service(folder: Path) -> Iterator[str]:
    """URL of a node that keeps its data in a folder."""
    settings = Settings.model_validate(
        {"node": {"data": str(folder)}, "dimse": {"port": 0}, "web": {"port": 0}}
    )

    async def begin() -> Node:
        node = Node(settings)
        await node.start()
        return node

    elsewhere = Elsewhere()
    node = elsewhere.run(begin())
    try:
        yield node.facts().dicomweb
    finally:
        elsewhere.run(node.stop())
        elsewhere.close()


def test_store_search_retrieve_and_render(run: Run, url: str, tmp_path: Path) -> None:
    stored = run("web", "store", url, CT, "--json")
    assert stored.status == 0, stored.err
    assert json.loads(stored.out)["complete"]

    table = run("web", "search", url, "PatientName=comp*")
    assert table.status == 0
    assert STUDY in table.out
    found = json.loads(run("web", "search", url, "--json").out)
    assert [each["0020000D"]["Value"] for each in found] == [[STUDY]]
    series = run("web", "search", f"{url}/studies/{STUDY}/series", "Modality", "--csv")
    assert series.out.splitlines()[0].startswith("SeriesInstanceUID,Modality")
    assert "CT" in series.out.splitlines()[1]
    assert run("web", "search", url, "PatientID=nobody").err == "no matches\n"
    by_tag = run("web", "search", url, "00080061=CT", "--csv")
    assert by_tag.out.splitlines()[0].startswith("00080061,")
    assert by_tag.out.splitlines()[1].startswith("CT,")

    got = run("web", "retrieve", f"{url}/studies/{STUDY}", "--output", tmp_path / "got", "--json")
    assert got.status == 0, got.err
    (file,) = json.loads(got.out)["files"]
    assert Path(file).read_bytes()[128:].endswith(CT.read_bytes()[-1000:])

    picture = run(
        "web", "rendered", f"{url}/studies/{STUDY}", "-o", tmp_path / "one.png", "--viewport", "64,64"
    )
    assert picture.status == 0, picture.err
    assert (tmp_path / "one.png").read_bytes()[:4] == b"\x89PNG"
    shown = ["--window", "40,400", "--annotation", "technique", "--icc-profile", "srgb"]
    for name, begin in (("one.jxl", b"\xff\x0a"), ("one.jp2", b"\0\0\0\x0cjP"), ("one.gif", b"GIF8")):
        assert run("web", "rendered", f"{url}/studies/{STUDY}", "-o", tmp_path / name).status == 0
        assert (tmp_path / name).read_bytes().startswith(begin)
    windowed = run("web", "rendered", f"{url}/studies/{STUDY}", "-o", tmp_path / "two.png", *shown)
    assert windowed.status == 0, windowed.err
    assert b"iCCP" in (tmp_path / "two.png").read_bytes()[:64]


def test_every_picture_of_a_study_has_a_file(run: Run, tmp_path: Path) -> None:
    image = pydicom.dcmread(CT)
    image.StudyInstanceUID = "1.2.77"
    for number in (1, 2, 3):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.77.{number}"
        image.save_as(tmp_path / f"{number}.dcm")
    with service(tmp_path / "node") as url:
        assert run("web", "store", url, *tmp_path.glob("*.dcm")).status == 0
        result = run("web", "rendered", f"{url}/studies/1.2.77", "-o", tmp_path / "all.png")
    assert result.status == 0, result.err
    assert f"3 pictures: {tmp_path / 'all.png'} to {tmp_path / 'all-3.png'}" in result.err
    written = [tmp_path / name for name in ("all.png", "all-2.png", "all-3.png")]
    assert [each.read_bytes()[:4] for each in written] == [b"\x89PNG"] * 3


@pytest.mark.parametrize(
    ("resource", "level", "shown"),
    [
        ("", None, "StudyInstanceUID"),
        ("", "series", "SeriesInstanceUID"),
        ("/studies", None, "StudyInstanceUID"),
        ("/studies?PatientID=1CT1&StudyDescription=", None, "StudyInstanceUID"),
        (f"/studies/{STUDY}", None, "SeriesInstanceUID"),
        (f"/studies/{STUDY}", "instances", "SOPInstanceUID"),
        (f"/studies/{STUDY}/instances", None, "SOPInstanceUID"),
        (f"/studies/{STUDY}/series/{SERIES}", None, "SOPInstanceUID"),
        ("/series", None, "SeriesInstanceUID"),
        ("/instances/", "instances", "SOPInstanceUID"),
    ],
)
def test_any_resource_can_be_searched(
    run: Run, url: str, resource: str, level: str | None, shown: str
) -> None:
    run("web", "store", url, CT)
    found = run("web", "search", url + resource, "--csv", *(["-l", level] if level else []))
    assert found.status == 0, found.err
    head, row = found.out.splitlines()
    assert shown in head
    assert "1.3.6.1.4.1.5962.1" in row


def test_what_is_not_of_the_study_in_the_url_is_refused(run: Run, url: str) -> None:
    assert run("web", "store", f"{url}/studies/{STUDY}", CT).status == 0
    refused = run("web", "store", f"{url}/studies/1.2.3", CT)
    assert refused.status == 1
    assert "Study Instance UID" in refused.err + refused.out


def test_a_password_from_stdin_is_for_all_connections(
    run: Run, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    prepared = WebClient.__init__

    def noted(self: WebClient, url: str, **options: Any) -> None:
        given.append(options["user"])
        prepared(self, url, **options)

    monkeypatch.setattr(WebClient, "__init__", noted)
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    files = [CT, Path(str(get_testdata_file("MR_small.dcm")))]
    run("web", "store", url, *files, "--associations", "2", "--user", "jo", "--password", "-")
    assert given == [("jo", "secret")] * 2


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["search", "{url}/studies/1.2/metadata"], 2, "nothing to search below"),
        (["search", "{url}/instances", "--level", "series"], 2, "the URL names instances"),
        (["search", "http://127.0.0.1:1/dicom-web"], 1, "Connection refused"),
        (["retrieve", "{url}/studies/1.2.9?x=y", "-o", "x"], 2, "without a query"),
        (["search", "nowhere"], 2, "no URL"),
        (["search", "{url}", "--level", "patient"], 2, "studies, series or instances"),
        (["search", "{url}", "--csv", "--json"], 2, "give one"),
        (["search", "{url}", "limit=-1"], 1, "400 Bad Request"),
        (["search", "{url}", "Nonsense=1"], 0, "Nonsense is no attribute; it was ignored"),
        (["search", "http://127.0.0.1:1"], 1, "127.0.0.1:1"),
        (["retrieve", "{url}", "-o", "x"], 2, "names no study"),
        (["retrieve", "{url}/studies/1.2.9", "-o", "x"], 1, "there is no study 1.2.9"),
        (["rendered", "{url}/studies/1.2.9", "-o", "x.png"], 1, "there is no study 1.2.9"),
        (["rendered", "{url}/studies/1.2.9", "-o", "x.xyz"], 2, "--media-type"),
        (["rendered", f"{{url}}/studies/{STUDY}", "-o", "missing/x.png"], 1, "x.png: No such file"),
        (["store", "{url}", "missing.dcm"], 2, "no such file"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_status(
    run: Run, url: str, arguments: list[str], status: int, words: str
) -> None:
    result = run("web", *(each.replace("{url}", url) for each in arguments))
    assert result.status == status
    assert words in result.err
    assert len(result.err.splitlines()) <= 2
