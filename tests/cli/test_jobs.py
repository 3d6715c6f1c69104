"""`dicomwire jobs` on a data folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dicomwire.work import jobs
from dicomwire.work.store import open_store
from tests.cli.conftest import Run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a job that waits and one that was given up."""
    store = open_store(tmp_path)
    for kind, destination in (("mpps-forward", "RIS"), ("commitment-report", "CT1")):
        store.apply(
            lambda change, kind=kind, destination=destination: jobs.add(  # type: ignore[misc]
                change, kind, destination, '{"uid": "1.2.3"}', now=1000.0
            )
        )
    store.apply(lambda change: change.count("UPDATE job SET state = 'failed', reason = 'no' WHERE id = 2"))
    store.close()
    return tmp_path


def listed(run: Run, folder: Path, *flags: str) -> list[tuple[int, str]]:
    result = run("jobs", "list", "--data", folder, "--json", *flags)
    assert result.status == 0, result.err
    return [(job["id"], job["state"]) for job in json.loads(result.out)["jobs"]]


def test_jobs_are_listed_and_selected(run: Run, folder: Path) -> None:
    assert listed(run, folder) == [(2, "failed"), (1, "waiting")]
    assert listed(run, folder, "--state", "failed") == [(2, "failed")]
    assert listed(run, folder, "--kind", "mpps-forward") == [(1, "waiting")]
    assert listed(run, folder, "--destination", "CT1", "--limit", "1") == [(2, "failed")]
    assert (
        "2\tfailed\tcommitment-report\tCT1\t0\t1970-01-01T00:16:40+00:00\tno"
        in run("jobs", "list", "--data", folder).out
    )


def test_a_job_is_shown_with_its_payload(run: Run, folder: Path) -> None:
    assert 'payload      {"uid": "1.2.3"}' in run("jobs", "show", "1", "--data", folder).out
    (job,) = json.loads(run("jobs", "show", "1", "--data", folder, "--json").out)
    assert job["destination"] == "RIS"


def test_jobs_are_paused_resumed_cancelled_and_retried(run: Run, folder: Path) -> None:
    for command, number, after in (
        ("pause", 1, "paused"),
        ("resume", 1, "waiting"),
        ("cancel", 1, "cancelled"),
        ("retry", 2, "waiting"),
    ):
        result = run("jobs", command, str(number), "--data", folder)
        assert (result.status, result.out) == (0, f"job {number} is {after}\n")


def test_what_cannot_be_is_status_1_and_nothing_is_done(run: Run, folder: Path) -> None:
    result = run("jobs", "pause", "1", "2", "--data", folder)
    assert (result.status, result.err) == (
        1,
        "dicomwire: job 2 is failed; pause is for jobs that are waiting\n",
    )
    assert listed(run, folder) == [(2, "failed"), (1, "waiting")]
    assert run("jobs", "retry", "7", "--data", folder).err == "dicomwire: there is no job 7\n"


def test_a_folder_without_work_is_wrong_use(run: Run, tmp_path: Path) -> None:
    result = run("jobs", "list", "--data", tmp_path / "empty")
    assert (result.status, "no node has worked there" in result.err) == (2, True)


def test_jobs_are_chosen_by_kind_and_destination(run: Run, folder: Path) -> None:
    assert run("jobs", "retry", "--destination", "CT1", "--data", folder).out == "job 2 is waiting\n"
    assert run("jobs", "pause", "--kind", "commitment-report", "--data", folder).out == "job 2 is paused\n"
    assert run("jobs", "resume", "--destination", "RIS", "--data", folder).status == 1
    assert listed(run, folder, "--state", "paused") == [(2, "paused")]


@pytest.mark.parametrize("arguments", [(), ("1", "--destination", "RIS")])
def test_jobs_are_chosen_one_way(run: Run, folder: Path, arguments: tuple[str, ...]) -> None:
    assert run("jobs", "cancel", *arguments, "--data", folder).status == 2
    assert listed(run, folder) == [(2, "failed"), (1, "waiting")]


def test_alone_it_lists(run: Run, folder: Path) -> None:
    assert [job["id"] for job in json.loads(run("jobs", "--data", folder, "--json").out)["jobs"]] == [2, 1]
    assert run("jobs", "--data", folder, "list").status == 2
