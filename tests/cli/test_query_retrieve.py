"""`dicomwire find`, `move` and `get` against a peer in another thread of this process."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from benchmarks.receivers import free_port
from tests.cli.conftest import Run
from tests.elsewhere import Elsewhere
from tests.services.peer import Peer, peering
from tests.services.retrieving import MR, SERIES, STUDY, destination, image, keep

COUNT = 5
UNCOMMON = (
    "1.2.840.10008.5.1.4.1.1.78.6",  # Spectacle Prescription Report Storage
    "1.2.840.10008.5.1.4.1.1.5",  # Nuclear Medicine Image Storage, retired
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    elsewhere = Elsewhere()
    running = peering(tmp_path_factory.mktemp("peer"))
    there = elsewhere.run(running.__aenter__())

    async def fill() -> None:
        for number in range(COUNT):
            await keep(there.archive, image(number, size=5_000))
        await keep(there.archive, image(1, sop_class=MR, study="1.2.9", series="1.2.9.1"))
        for number, uid in enumerate((MR, *UNCOMMON)):
            await keep(there.archive, image(number, sop_class=uid, study="1.2.10", series="1.2.10.1"))

    elsewhere.run(fill())
    try:
        yield there
    finally:
        elsewhere.run(running.__aexit__(None, None, None))
        elsewhere.close()


@pytest.fixture
def peer(shared: Peer) -> Iterator[Peer]:
    """The peer, with nothing left of what another test had it say."""
    yield shared
    shared.finder.__init__()  # type: ignore[misc]
    shared.destinations.clear()


def study(**values: str) -> Dataset:
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


TWO = [
    study(PatientName="MÜLLER^A", PatientID="1", StudyInstanceUID=STUDY, StudyDate="20200102"),
    study(PatientName="DOE^\x1b[2J", PatientID="2", StudyInstanceUID="1.2.9", ModalitiesInStudy=["CT", "MR"]),  # type: ignore[arg-type]
]


# find


def test_find_prints_a_line_for_each_match(run: Run, peer: Peer) -> None:
    peer.finder.answers = TWO
    found = run("find", peer.address, "PatientName=*", "PatientID", "StudyDate")
    assert found.status == 0, found.err
    assert found.out.splitlines() == [
        f"MÜLLER^A\t1\t20200102\t{STUDY}",
        "DOE^\\x1b[2J\t2\t\t1.2.9",
    ]
    (asked,) = peer.finder.asked
    assert asked.QueryRetrieveLevel == "STUDY"


def test_find_prints_comma_separated_values(run: Run, peer: Peer) -> None:
    peer.finder.answers = TWO
    found = run("find", peer.address, "--csv", "PatientName", "(0008,0061)")
    rows = list(csv.DictReader(io.StringIO(found.out)))
    assert rows[0]["PatientName"] == "MÜLLER^A"
    assert rows[1]["ModalitiesInStudy"] == "CT\\MR"


def test_find_prints_the_json_model(run: Run, peer: Peer) -> None:
    peer.finder.answers = TWO
    facts = json.loads(run("find", peer.address, "--json").out)
    assert [each["00100020"]["Value"] for each in facts] == [["1"], ["2"]]
    peer.finder.answers = []
    assert json.loads(run("find", peer.address, "--json").out) == []


def test_find_without_a_match_is_done_and_says_so(run: Run, peer: Peer) -> None:
    found = run("find", peer.address, "PatientName=NOBODY")
    assert (found.status, found.out) == (0, "")
    assert "no matches" in found.err


def test_find_stops_at_a_limit(run: Run, peer: Peer) -> None:
    peer.finder.answers, peer.finder.endless = TWO, True
    found = run("find", peer.address, "PatientID", "--limit", "7")
    assert len(found.out.splitlines()) == 7
    assert len(peer.finder.cancelled) == 1


@pytest.mark.parametrize(
    ("arguments", "level", "model"),
    [
        (["PatientName=D*", "--level", "patient"], "PATIENT", None),
        (["PatientName=D*", "--root", "patient"], "PATIENT", None),
        (["StudyInstanceUID=1", "Modality=CT"], "SERIES", None),
        (["--level", "image", "StudyInstanceUID=1", "SeriesInstanceUID=1"], "IMAGE", None),
        (["--root", "worklist", "ScheduledProcedureStepSequence.Modality=CT"], None, None),
    ],
)
def test_find_asks_at_a_level_of_a_model(
    run: Run, peer: Peer, arguments: list[str], level: str | None, model: None
) -> None:
    assert run("find", peer.address, *arguments).status == 0
    assert peer.finder.asked[0].get("QueryRetrieveLevel") == level


def test_find_writes_a_character_set(run: Run, peer: Peer) -> None:
    assert run("find", peer.address, "PatientName=MÜLLER*", "--character-set", "ISO_IR 100").status == 0
    asked = peer.finder.asked[0]
    asked.decode()
    assert (asked.SpecificCharacterSet, asked.PatientName) == ("ISO_IR 100", "MÜLLER*")


def test_find_says_what_the_peer_does_not_offer(run: Run, peer: Peer) -> None:
    found = run("find", peer.address, "--fuzzy", "--relational")
    assert found.status == 0
    assert "does not offer fuzzy matching" in found.err
    assert "relational" not in found.err


def test_find_that_fails_says_why_and_what_may_be_missing(run: Run, peer: Peer) -> None:
    peer.finder.status, peer.finder.comment = 0xA900, "needs StudyInstanceUID"
    found = run("find", peer.address, "Modality=CT")
    assert found.status == 1
    assert "A900H" in found.err
    assert "needs StudyInstanceUID" in found.err
    assert "level SERIES needs one value of StudyInstanceUID, or --relational" in found.err
    assert "Traceback" not in found.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["PatientNam=x"], "did you mean PatientName"),
        (["--level", "x"], "levels are PATIENT"),
        (["--root", "x"], "models are patient"),
        (["--level", "patient", "--root", "study"], "no level PATIENT"),
        (["Rows=many"], "no number"),
        (["PatientName=Ю", "--character-set", "ISO_IR 100"], "not in the character set"),
        (["--csv", "--json"], "give one"),
    ],
)
def test_find_used_wrongly(run: Run, arguments: list[str], words: str) -> None:
    found = run("find", "X@127.0.0.1:1", *arguments)
    assert found.status == 2
    assert words in found.err


# get


def test_get_writes_a_tree_of_files(run: Run, peer: Peer, tmp_path: Path) -> None:
    got = run("get", peer.address, f"StudyInstanceUID={STUDY}", "--output", "out")
    assert got.status == 0, got.err
    assert f"{COUNT} completed, {COUNT} written to out" in got.out
    files = sorted((tmp_path / "out").rglob("*"))
    assert [each for each in files if each.is_file()] == sorted(
        tmp_path / "out" / STUDY / SERIES / f"{SERIES}.{number}.dcm" for number in range(COUNT)
    )
    assert pydicom.dcmread(files[-1]).file_meta.SourceApplicationEntityTitle == "PEER"


def test_get_again_finds_files_there(run: Run, peer: Peer) -> None:
    run("get", peer.address, f"StudyInstanceUID={STUDY}", "--output", "out")
    facts = json.loads(run("get", peer.address, f"StudyInstanceUID={STUDY}", "-o", "out", "--json").out)
    assert facts["complete"] is True
    assert facts["completed"] == len(facts["files"]) == COUNT
    assert all(each["there_already"] for each in facts["files"])


def test_get_with_other_keys_queries_first(run: Run, peer: Peer) -> None:
    peer.finder.answers = TWO
    got = run("get", peer.address, "PatientName=*", "-o", "out", "--json")
    facts = json.loads(got.out)
    assert (got.status, facts["retrievals"], facts["completed"]) == (0, 2, COUNT + 1)
    (asked,) = peer.finder.asked
    assert asked.PatientName == "*"
    assert asked.StudyInstanceUID == ""


def test_get_of_nothing_is_done(run: Run, peer: Peer) -> None:
    got = run("get", peer.address, "PatientName=NOBODY", "-o", "out")
    assert (got.status, "nothing matches" in got.out) == (0, True)
    assert run("get", peer.address, "StudyInstanceUID=1.2.3.4", "-o", "out").status == 0


def test_get_names_what_could_not_be_sent(run: Run, peer: Peer) -> None:
    got = run("get", peer.address, "StudyInstanceUID=1.2.9", "-o", "out", "--sop-class", "CTImageStorage")
    assert got.status == 1
    assert "1.2.9.1.1: not sent" in got.err
    assert "1 failed" in got.out


def test_get_comes_again_for_what_is_not_common(run: Run, peer: Peer) -> None:
    got = run("get", peer.address, "StudyInstanceUID=1.2.10", "-o", "out", "--json")
    facts = json.loads(got.out)
    assert (got.status, facts["completed"], facts["failed"], facts["failures"]) == (0, 3, 0, []), got.err
    assert {each["sop_class_uid"] for each in facts["files"]} == {MR, *UNCOMMON}


def test_get_where_nothing_can_be_written(run: Run, peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    got = run("get", peer.address, f"StudyInstanceUID={STUDY}", "-o", "file")
    assert got.status == 1
    assert "file" in got.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing is named"),
        (["StudyInstanceUID=1.2", "--level", "series"], "needs a value of SeriesInstanceUID"),
        (["PatientID=1", "--root", "worklist"], "retrieves nothing"),
        (["StudyInstanceUID=1.2", "--sop-class", "Nonsense"], "neither UID nor keyword"),
    ],
)
def test_get_used_wrongly(run: Run, arguments: list[str], words: str) -> None:
    got = run("get", "X@127.0.0.1:1", *arguments, "--output", "out")
    assert got.status == 2
    assert words in got.err


# move


def test_move_into_a_folder_here(run: Run, peer: Peer, tmp_path: Path) -> None:
    port = free_port()
    peer.destinations["HERE"] = destination(port, title="HERE")
    moved = run(
        "move",
        peer.address,
        f"StudyInstanceUID={STUDY}",
        *("--to", "HERE", "--receive", "in", "--listen", str(port), "--json"),
    )
    facts = json.loads(moved.out)
    assert moved.status == 0, moved.err
    assert facts["completed"] == len(facts["files"]) == COUNT
    assert len(list((tmp_path / "in").rglob("*.dcm"))) == COUNT


def test_move_to_an_unknown_ae(run: Run, peer: Peer) -> None:
    moved = run("move", peer.address, f"StudyInstanceUID={STUDY}", "--to", "NOBODY")
    assert moved.status == 1
    assert "A801H" in moved.err
    assert moved.err.count("A801H") == 1


def test_move_to_where_nobody_listens(run: Run, peer: Peer) -> None:
    peer.destinations["GONE"] = destination(free_port(), title="GONE")
    moved = run("move", peer.address, f"StudyInstanceUID={STUDY}", "--to", "GONE")
    assert moved.status == 1
    assert f"{COUNT} failed" in moved.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "needs --to AE"),
        (["--receive", "in"], "belong together"),
        (["--to", "A", "--listen", "104"], "belong together"),
        (["--receive", "in", "--listen", "x"], "is no port"),
    ],
)
def test_move_used_wrongly(run: Run, arguments: list[str], words: str) -> None:
    moved = run("move", "X@127.0.0.1:1", "StudyInstanceUID=1.2", *arguments)
    assert moved.status == 2
    assert words in moved.err


@pytest.mark.parametrize("command", ["find", "get", "move"])
def test_a_peer_that_is_not_there(run: Run, command: str) -> None:
    more = {"find": [], "get": ["-o", "out"], "move": ["--to", "A"]}[command]
    said = run(command, f"X@127.0.0.1:{free_port()}", "StudyInstanceUID=1.2", *more)
    assert said.status == 1
    assert "refuses connections" in said.err
    assert "Traceback" not in said.err


# At a terminal


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both streams are a terminal, as wide as a table needs."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("_pytest.capture.CaptureIO.isatty", lambda self: True, raising=False)


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_a_table_and_a_count(run: Run, peer: Peer) -> None:
    peer.finder.answers = TWO
    found = run("find", peer.address, "PatientName", "PatientID")
    assert found.status == 0, found.err
    head, *rows = found.out.splitlines()
    assert re.findall(r"[A-Z]\w+", head) == ["PatientName", "PatientID", "StudyInstanceUID"]
    assert len(rows) == 2
    assert "2 matches in" in found.err


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_progress_and_the_sum(run: Run, peer: Peer) -> None:
    got = run("get", peer.address, f"StudyInstanceUID={STUDY}", "-o", "out")
    assert got.status == 0, got.err
    assert f"{COUNT} completed" in got.out
    assert "Traceback" not in got.err


# What a peer does wrong


def test_a_match_that_cannot_be_read_is_named_and_the_others_are_shown(run: Run, peer: Peer) -> None:
    peer.finder.answers = TWO
    peer.finder.garbage = b"\x08\x00\x52\x00CS\xff\xffSTUDY"
    found = run("find", peer.address, "PatientID")
    assert found.status == 1
    assert len(found.out.splitlines()) == 2
    assert "match 3 cannot be read" in found.err
    assert "1 of 3 matches cannot be read" in found.err


def test_matches_that_go_on_behind_the_cancel_are_not_waited_for(run: Run, peer: Peer) -> None:
    peer.finder.answers, peer.finder.endless, peer.finder.deaf = TWO, True, True
    found = run("find", peer.address, "PatientID", "--limit", "3", "--timeout", "0.3")
    assert len(found.out.splitlines()) == 3
    assert found.status == 0, found.err
