"""`explain`, `decode` and `compare` as they are called."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.diagnose.scenarios import SCENARIOS


@pytest.fixture
def captures(tmp_path: Path) -> dict[str, str]:
    """A capture each of some causes, by code; `cut` ends within a frame."""
    found = {}
    for code in ("reject-called-ae-title", "capture-ends-early", "status-other", "find-identifier-mismatch"):
        file = tmp_path / f"{code}.pcap"
        file.write_bytes(SCENARIOS[code]().pcap())
        found[code] = str(file)
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(SCENARIOS["status-other"]().pcap()[:-7])
    return found | {"cut": str(cut)}


def test_explain_tells_the_verdict_first_and_fails(run: Run, captures: dict[str, str]) -> None:
    result = run("explain", captures["reject-called-ae-title"])
    assert result.status == 1
    lines = result.out.splitlines()
    assert lines[2].startswith("1. FAILED  SCU@10.0.0.1:40001 → SCP@10.0.0.2:11112")
    assert "does not answer to that AE title" in lines[3]
    for word in ("Whose side", "Why", "Change, requestor", "Check next", "A-ASSOCIATE-RJ"):
        assert word in result.out


def test_explain_prints_the_json_of_the_contract(run: Run, captures: dict[str, str]) -> None:
    result = run("explain", "--json", captures["reject-called-ae-title"], captures["status-other"])
    assert result.status == 1
    first, second = json.loads(result.out)["captures"]
    assert first["file"] == captures["reject-called-ae-title"]
    (story,) = first["stories"]
    assert story["outcome"] == "failed"
    assert story["verdict"]["code"] == "reject-called-ae-title"
    assert story["verdict"] == story["findings"][0]
    assert story["related"] == []
    assert story["events"]
    assert second["stories"][0]["verdict"]["code"] == "status-other"


def test_the_exit_status_tells_unknown_and_unreadable(run: Run, captures: dict[str, str]) -> None:
    assert run("explain", captures["capture-ends-early"]).status == 3
    cut = run("explain", captures["cut"])
    assert cut.status == 2
    assert "the file ends within frame" in cut.err
    assert "at byte" in cut.err
    assert "status-other" in cut.out
    missing = run("explain", "nowhere.pcap")
    assert missing.status == 2
    assert "No such file" in missing.err


def test_a_capture_is_read_from_standard_input(
    run: Run, captures: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in ("explain", "decode"):
        with open(captures["reject-called-ae-title"], "rb") as capture:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(capture))
            assert "A-ASSOCIATE-RJ" in run(command, "-").out


def test_explain_writes_one_page_without_anything_from_outside(
    run: Run, captures: dict[str, str], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    assert run("explain", captures["status-other"], "--html", str(page)).status == 1
    text = page.read_text()
    assert "<svg" in text
    assert "C-STORE-RSP" in text
    for outside in ("http://", "https://", "<script", "<link", "@import"):
        assert outside not in text


def test_patients_are_masked_unless_asked_for(run: Run, captures: dict[str, str]) -> None:
    file = captures["find-identifier-mismatch"]
    for command in ("explain", "decode"):
        assert "4711" not in run(command, file).out
        assert "4711" in run(command, file, "--unmask").out


def test_decode_prints_every_element_with_its_offset(run: Run, captures: dict[str, str]) -> None:
    result = run("decode", "--json", captures["status-other"])
    assert result.status == 0
    pdus = json.loads(result.out)["pdus"]
    names = [pdu["name"] for pdu in pdus]
    assert names[:3] == ["A-ASSOCIATE-RQ", "A-ASSOCIATE-AC", "P-DATA-TF"]
    assert pdus[0]["items"][1]["items"][0]["uid"] == "1.2.840.10008.5.1.4.1.1.2"
    elements = pdus[2]["values"][0]["elements"]
    assert [element["tag"] for element in elements][:3] == ["00000000", "00000002", "00000100"]
    assert elements[2]["value"] == 1
    assert "Rows tag=00280010 vr=US length=2 value=64" in run("decode", captures["status-other"]).out


def test_decode_of_a_cut_file_prints_what_is_there(run: Run, captures: dict[str, str]) -> None:
    result = run("decode", "--json", captures["cut"])
    assert result.status == 2
    assert "at byte" in result.err
    assert len(json.loads(result.out)["pdus"]) > 3


def test_compare_of_two_captures_and_of_a_capture_with_a_configuration(
    run: Run, captures: dict[str, str], tmp_path: Path
) -> None:
    one, other = captures["reject-called-ae-title"], captures["status-other"]
    assert run("compare", one, one).status == 0
    result = run("compare", "--json", one, other)
    assert result.status == 1
    assert "answer" in {difference["what"] for difference in json.loads(result.out)["differences"]}
    settings = tmp_path / "node.toml"
    settings.write_text('[node]\nae_title = "ELSE"\n[dimse]\ncalled_ae_title = "own"\n')
    result = run("compare", other, str(settings))
    assert result.status == 1
    assert "b: A-ASSOCIATE-RJ 1/1/7: called AE title 'SCP' is none of ours (ELSE)" in result.out
    assert run("compare", one + "#7", one).status == 2
    assert run("compare", str(settings), str(settings)).status == 2
