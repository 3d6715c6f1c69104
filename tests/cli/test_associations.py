"""`dicomwire associations`, at the answers of a node's web door."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import httpx
import pytest

from dicomwire.association.flight import FlightRecorder
from dicomwire.diagnose.explain import explain
from dicomwire.node.flight_api import facts, story_of
from dicomwire.node.masking import masked_line
from dicomwire.uids import VERIFICATION
from dicomwire.upper_layer.codec import encode
from dicomwire.upper_layer.items import ProposedContext
from dicomwire.upper_layer.pdu import AssociateRj, AssociateRq
from tests.cli.conftest import Run


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = FlightRecorder(1).begin("abc")
    recording.opened(("192.0.2.1", 40_000), ("192.0.2.2", 104))
    request = AssociateRq("NODE", "CT1", (ProposedContext(1, VERIFICATION, ("1.2.840.10008.1.2",)),), ())
    recording.received(memoryview(encode(request)))
    recording.named("CT1", "NODE", "rejected")
    recording.note("user identity refused: user=doe is unknown")
    recording.sent([encode(AssociateRj(1, 2, 1))])
    recording.closed(by_peer=True, error=None)
    story = story_of(recording)
    answers = {
        "/api/associations": httpx.Response(200, json={"associations": [facts(recording)]}),
        "/api/associations/abc": httpx.Response(
            200, json={**facts(recording), "requests": [], "story": story.as_json() if story else None}
        ),
        "/api/associations/abc/pcap": httpx.Response(200, content=recording.trace(masked_line)),
        "/api/node": httpx.Response(200, json={"associations": [{"user": "doe"}]}),
    }

    def get(url: str, **given: object) -> httpx.Response:
        if not url.startswith("http://node:1"):
            raise httpx.ConnectError("nobody there")
        return answers.get(url.removeprefix("http://node:1"), httpx.Response(404, text="none is kept"))

    monkeypatch.setattr(httpx, "get", get)


def test_list_names_who_called_and_why_it_ended(run: Run) -> None:
    result = run("associations", "list", "--url", "http://node:1/")
    assert result.status == 0
    assert "CT1" in result.out
    assert "user identity refused" in result.out
    assert json.loads(run("associations", "list", "--json", "--url", "http://node:1").out)[0]["id"] == "abc"


def test_show_explains(run: Run) -> None:
    result = run("associations", "show", "abc", "--url", "http://node:1")
    assert result.status == 0
    assert "gives no reason" in result.out
    assert "A-ASSOCIATE-RQ" in result.out


def test_export_writes_a_capture(run: Run, tmp_path: Path) -> None:
    assert run("associations", "export", "abc", "a.pcapng", "--url", "http://node:1").status == 0
    stories = explain("a", [(tmp_path / "a.pcapng").read_bytes()]).stories
    assert stories[0].requestor.ae_title == "CT1"


def test_unknown_association_and_absent_node_are_one_line_and_status_1(run: Run) -> None:
    for arguments in (("show", "xyz", "--url", "http://node:1"), ("list", "--url", "http://other:1")):
        result = run("associations", *arguments)
        assert result.status == 1
        assert result.err.count("\n") == 1


def test_bundle_has_everything_and_no_names(run: Run, tmp_path: Path) -> None:
    (tmp_path / "node.log").write_text("12:00 [info] stored PatientName=DOE^JANE user=doe\n")
    (tmp_path / "dicomwire.toml").write_text(
        '[identity.jwt]\nsecret = "hunter2hunter2hunter2hunter2hunter2"\n'
    )
    result = run("associations", "bundle", "b.zip", "--log", "node.log", "--url", "http://node:1")
    assert result.status == 0, result.err
    with zipfile.ZipFile(tmp_path / "b.zip") as bundle:
        assert sorted(bundle.namelist()) == [
            "associations.json",
            "associations/abc.pcapng",
            "log.txt",
            "node.json",
            "settings.toml",
            "versions.json",
        ]
        texts = {name: bundle.read(name).decode("utf-8", "replace") for name in bundle.namelist()}
    for secret in ("JANE", "doe", "hunter2"):
        assert [name for name, text in texts.items() if secret in text] == []
