"""`dicomwire archive`: what it counts, checks and mends; files in and out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dicomwire.archive.archive import Archive
from tests.archive.test_exchange import dicomdir, written
from tests.cli.conftest import Run


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with two instances of one study, one of another, and what is no DICOM."""
    folder = tmp_path / "in"
    written(folder / "a.dcm", "1.2.3.4.1")
    written(folder / "deep" / "b", "1.2.3.4.2")
    written(folder / "c", "1.5.1", study="1.5", series="1.5.0")
    (folder / "readme.txt").write_text("not an image " * 20)
    return folder


def test_import_stores_a_folder_and_says_what_became_of_it(run: Run, files: Path) -> None:
    result = run("archive", "import", files)
    assert result.status == 0
    assert result.err == ""
    assert "3 stored" in result.out
    assert "1 no DICOM file" in result.out
    facts = json.loads(run("archive", "stats", "--json").out)
    assert (facts["studies"], facts["series"], facts["instances"]) == (2, 2, 3)
    assert facts["bytes_live"] <= facts["bytes_stored"]
    assert "2 studies, 2 series, 3 instances" in run("archive", "stats").out


def test_import_again_stores_nothing_and_is_fine(run: Run, files: Path) -> None:
    run("import", files)
    facts = json.loads(run("import", files, "--json").out)
    assert facts["complete"] is True
    assert facts["outcomes"] == {"already stored": 3, "no DICOM file": 1}
    assert facts["bytes"] == 0


def test_import_names_each_refused_file_with_the_reason(run: Run, files: Path) -> None:
    cut = files / "cut.dcm"
    cut.write_bytes((files / "a.dcm").read_bytes()[:-3])
    result = run("archive", "import", files)
    assert result.status == 1
    (line,) = result.err.splitlines()
    assert line.startswith(f"{cut}: not importable: data set cannot be read to its end")
    facts = json.loads(run("archive", "import", cut, files / "readme.txt", "--json").out)
    assert [Path(each["file"]).name for each in facts["files"]] == ["cut.dcm", "readme.txt"]
    assert facts["complete"] is False


def test_import_names_what_is_kept_as_a_conflict_version(run: Run, files: Path, tmp_path: Path) -> None:
    run("import", files)
    other = tmp_path / "other"
    content = (files / "a.dcm").read_bytes()
    other.write_bytes(content.replace(b"P1", b"P2"))
    result = run("import", other)
    assert result.status == 0
    assert f"{other}: conflict" in result.err
    facts = json.loads(run("archive", "stats", "--json").out)
    assert (facts["instances"], facts["conflicts"]) == (3, 1)


def test_import_takes_the_files_of_a_dicomdir(run: Run, files: Path) -> None:
    path = dicomdir(files / "DICOMDIR", "A.DCM", "DEEP\\B")
    facts = json.loads(run("import", path, "--json").out)
    assert facts["outcomes"] == {"stored": 2}
    missing = dicomdir(files / "DICOMDIR", "A.DCM", "GONE")
    result = run("import", missing)
    assert result.status == 1
    assert "GONE: not importable: No such file or directory" in result.err


def test_a_dicomdir_in_a_folder_is_passed_over(run: Run, files: Path) -> None:
    dicomdir(files / "DICOMDIR", "A.DCM")
    result = run("import", files)
    assert result.status == 0
    assert result.err == ""


def test_import_of_nothing_is_status_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run("import", "empty")
    assert result.status == 1
    assert "nothing to import" in result.out


def test_import_of_a_path_that_is_not_there_is_wrong_use(run: Run, tmp_path: Path) -> None:
    result = run("import", "absent")
    assert result.status == 2
    assert result.err == "dicomwire: absent: no such file or folder\n"
    assert not (tmp_path / "dicomwire-data").exists()


def test_export_writes_trees_that_import_takes(run: Run, files: Path, tmp_path: Path) -> None:
    run("import", files)
    result = run("export", "out")
    assert result.status == 0
    assert result.out.startswith("out: 3 exported; ")
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 3
    again = json.loads(run("archive", "export", "out", "--json").out)
    assert again == {"complete": True, "outcomes": {"already there": 3}, "bytes": 0, "failed": []}
    assert json.loads(run("import", "out", "--data", "second", "--json").out)["outcomes"] == {"stored": 3}


def test_export_of_one_study(run: Run, files: Path, tmp_path: Path) -> None:
    run("import", files)
    assert run("export", "out", "--study", "1.5").status == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.5"]
    absent = run("export", "out", "--study", "1.6")
    assert absent.status == 1
    assert "no study 1.6" in absent.out
    assert run("export", "out", "--study", "../x").status == 2


def test_export_never_overwrites(run: Run, files: Path, tmp_path: Path) -> None:
    run("import", files)
    mine = tmp_path / "out" / "1.5" / "1.5.0" / "1.5.1.dcm"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    result = run("export", "out")
    assert result.status == 1
    assert result.err == "1.5/1.5.0/1.5.1.dcm: another file has its name; it was left as it is\n"
    assert mine.read_text() == "mine"
    assert "2 exported" in result.out


def test_export_to_a_file_is_wrong_use(run: Run, files: Path) -> None:
    run("import", files)
    assert run("export", files / "a.dcm").status == 2


def test_verify_finds_nothing_in_what_is_whole(run: Run, files: Path) -> None:
    run("import", files)
    result = run("archive", "verify")
    assert (result.status, result.err) == (0, "")
    assert result.out == "dicomwire-data: no damage\n"
    assert json.loads(run("archive", "verify", "--json").out) == {"ok": True, "damage": []}


def test_verify_names_what_is_damaged(run: Run, files: Path, tmp_path: Path) -> None:
    run("import", files)
    damage(tmp_path / "dicomwire-data", b"1.5.0")
    result = run("archive", "verify")
    assert result.status == 1
    assert "1.5.1" in result.err
    facts = json.loads(run("archive", "verify", "--json").out)
    assert facts["ok"] is False
    assert "1.5.1" in [each["sop_instance_uid"] for each in facts["damage"]]


def damage(data: Path, text: bytes) -> None:
    """Change a byte of a stored data set, in place."""
    for path in data.rglob("*"):
        if path.is_file() and b"DICM" in (content := path.read_bytes()) and text in content:
            with path.open("r+b") as file:
                file.seek(content.index(text))
                file.write(b"9")


def test_verify_works_while_the_archive_is_open(run: Run, files: Path, tmp_path: Path) -> None:
    run("import", files)
    archive = Archive.open(tmp_path / "dicomwire-data")
    try:
        assert run("archive", "verify").status == 0
    finally:
        archive.close()


@pytest.mark.parametrize("command", ["stats", "compact", "rebuild", "migrate", "export", "import"])
def test_a_running_node_keeps_its_folder(run: Run, files: Path, tmp_path: Path, command: str) -> None:
    run("import", files)
    archive = Archive.open(tmp_path / "dicomwire-data")
    try:
        arguments = {"export": ["out"], "import": [files]}.get(command, [])
        result = run("archive", command, *arguments)
    finally:
        archive.close()
    assert result.status == 1
    assert result.err.startswith("dicomwire: ")
    assert result.err.count("\n") == 1
    assert ("dicomwire send" in result.err) is (command == "import")


def test_rebuild_makes_the_same_catalogue_again(run: Run, files: Path, tmp_path: Path) -> None:
    run("import", files)
    before = json.loads(run("archive", "stats", "--json").out)
    assert json.loads(run("archive", "rebuild", "--json").out) == {"instances": 3, "damage": []}
    after = json.loads(run("archive", "stats", "--json").out)
    assert {name: after[name] for name in ("studies", "series", "instances")} == {
        name: before[name] for name in ("studies", "series", "instances")
    }
    assert run("export", "out").status == 0


def test_rebuild_leaves_out_what_is_damaged_and_nothing_else(run: Run, files: Path, tmp_path: Path) -> None:
    run("import", files)
    data = tmp_path / "dicomwire-data"
    damage(data, b"1.5.0")
    sizes = {path: path.stat().st_size for path in data.rglob("*.seg")}
    command = [sys.executable, "-m", "dicomwire", "archive", "rebuild", "--json"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert {path: path.stat().st_size for path in data.rglob("*.seg")} == sizes
    assert "damage" in result.stderr
    assert json.loads(result.stdout)["instances"] == 2


def test_import_keeps_to_the_policy_for_duplicates(run: Run, files: Path, tmp_path: Path) -> None:
    run("import", files)
    (tmp_path / "dicomwire.toml").write_text('[archive]\nduplicates = "reject"\n')
    other = tmp_path / "other"
    other.write_bytes((files / "a.dcm").read_bytes().replace(b"P1", b"P2"))
    result = run("import", other)
    assert result.status == 1
    assert f"{other}: duplicate rejected" in result.err


def test_export_is_of_current_instances(run: Run, files: Path, tmp_path: Path) -> None:
    run("import", files)
    other = tmp_path / "other"
    other.write_bytes((files / "a.dcm").read_bytes().replace(b"P1", b"P2"))
    run("import", other)
    result = run("export", "out")
    assert result.status == 0
    assert b"P1" in (tmp_path / "out" / "1.2.3" / "1.2.3.4" / "1.2.3.4.1.dcm").read_bytes()


def test_compact_keeps_all_that_is_held(run: Run, files: Path) -> None:
    run("import", files)
    assert json.loads(run("archive", "compact", "--json").out)["bytes_freed"] >= 0
    assert json.loads(run("archive", "stats", "--json").out)["instances"] == 3
    assert run("archive", "verify").status == 0


@pytest.mark.parametrize("command", ["stats", "verify", "rebuild", "compact", "export", "migrate"])
def test_a_data_folder_that_is_not_there_is_wrong_use(run: Run, tmp_path: Path, command: str) -> None:
    result = run("archive", command, *(["out"] if command == "export" else []), "--data", "absent")
    assert result.status == 2
    assert result.err == "dicomwire: absent: no such folder\n"
    assert list(tmp_path.iterdir()) == []


def test_backup_copies_what_has_come_since_and_is_a_data_folder(run: Run, files: Path) -> None:
    run("import", files / "deep")
    first = json.loads(run("archive", "backup", "safe", "--json").out)
    assert (first["instances"], first["bytes_copied"]) == (1, first["bytes_held"])
    run("import", files)
    second = json.loads(run("archive", "backup", "safe", "--json").out)
    assert second["instances"] == 3
    assert second["bytes_copied"] == second["bytes_held"] - first["bytes_held"]
    assert "0 B copied" in run("archive", "backup", "safe").out
    assert run("archive", "verify", "--data", "safe").status == 0
    assert json.loads(run("archive", "stats", "--data", "safe", "--json").out)["instances"] == 3


def test_backup_into_another_folder_is_refused(run: Run, files: Path) -> None:
    run("import", files)
    result = run("archive", "backup", files)
    assert result.status == 1
    assert "neither empty nor a backup" in result.err


def test_migrate_says_when_there_is_nothing_to_do(run: Run, files: Path) -> None:
    run("import", files)
    result = run("archive", "migrate")
    assert result.status == 0
    assert result.out.endswith("nothing to do\n")
    facts = json.loads(run("archive", "migrate", "--json").out)
    assert facts["before"] == facts["after"] != ""


def test_a_file_that_is_a_tiff_as_well_stays_one_where_the_setting_says_so(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DICOMWIRE_ARCHIVE__PREAMBLE", "keep")
    path = written(tmp_path / "a", "1.2.3.4.1")
    content = b"II*\0" + path.read_bytes()[4:]
    path.write_bytes(content)
    assert run("import", path).status == 0
    run("export", "out")
    (exported,) = (tmp_path / "out").rglob("*.dcm")
    assert exported.read_bytes() == content


def test_a_file_set_goes_into_an_empty_folder_and_comes_back_by_its_dicomdir(
    run: Run, files: Path, tmp_path: Path
) -> None:
    run("import", files)
    assert run("export", "media", "--dicomdir").status == 0
    assert (tmp_path / "media" / "DICOM" / "ST000001" / "SE000001" / "IM000001").is_file()
    facts = json.loads(run("import", tmp_path / "media" / "DICOMDIR", "--data", "other", "--json").out)
    assert facts["outcomes"] == {"stored": 3}
    again = run("export", "media", "--dicomdir")
    assert again.status == 2
    assert "media: not empty" in again.err
