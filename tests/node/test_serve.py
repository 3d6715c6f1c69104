"""`dicomwire serve` as a process: ready, used, stopped; and what it says when it cannot start."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Serving:
    """A running node.

    Attributes:
        ready: its ready line.
    """

    process: subprocess.Popen[str]
    ready: str
    dimse_port: int
    web: str

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        try:
            with urllib.request.urlopen(self.web + path, timeout=SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "dicomwire", *map(str, arguments)]


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[Serving]:
    """A node in a folder of its own, on free ports."""
    ports = () if "--dimse-port" in flags else ("--dimse-port", "0", "--http-port", "0")
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            command("serve", *ports, *flags), cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"@[^ ]+:(\d+).* (https?://[^ ]+)/dicom-web", line)
        assert found, line + (folder / "log").read_text()
        yield Serving(process, line, int(found[1]), found[2])
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def refused(folder: Path, *flags: str) -> str:
    """What a node that cannot start says."""
    ran = subprocess.run(
        command("serve", *flags), cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ran.returncode == 2, ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""
    return ran.stderr


def test_it_gets_ready_is_used_and_ends_with_0(tmp_path: Path) -> None:
    with serving(tmp_path) as node:
        assert node.ready.startswith("ready: DIMSE DICOMWIRE@127.0.0.1:")
        echoed = subprocess.run(
            command("echo", f"ANY@127.0.0.1:{node.dimse_port}", "--json"),
            capture_output=True,
            text=True,
            check=True,
            timeout=SECONDS,
        )
        assert json.loads(echoed.stdout)["ok"] is True
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(SECONDS) == 0
        assert node.process.stdout is not None
        rest = node.process.stdout.read()
        assert "ready" not in rest
        assert f"echoscu -aec DICOMWIRE 127.0.0.1 {node.dimse_port}" in rest
    assert (tmp_path / "dicomwire-data").is_dir()
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_its_own_pages_answer(tmp_path: Path) -> None:
    with serving(tmp_path, "--ae-title", "PACS") as node:
        assert node.get("/healthz") == (200, "ok\n")
        assert node.get("/readyz") == (200, "ready\n")
        status, page = node.get("/")
        assert status == 200
        assert f"PACS<wbr>@127.0.0.1:{node.dimse_port}" in page
        facts = json.loads(node.get("/api/node")[1])
        assert facts["ae_title"] == "PACS"
        assert facts["dimse"]["port"] == node.dimse_port
        assert facts["archive"]["instances"] == 0
        status, metrics = node.get("/metrics")
        assert "dicomwire_ready 1.0" in metrics
        assert 'dicomwire_web_requests_total{status="2xx"}' in metrics
        status, problem = node.get("/nonsense")
        assert (status, json.loads(problem)["status"]) == (404, 404)


def test_sigint_ends_it_too(tmp_path: Path) -> None:
    with serving(tmp_path) as node:
        node.process.send_signal(signal.SIGINT)
        assert node.process.wait(SECONDS) == 0


def test_an_idle_association_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    with serving(tmp_path) as node, socket.create_connection(("127.0.0.1", node.dimse_port)):
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(SECONDS) == 0


def test_it_starts_again_on_the_same_folder(tmp_path: Path) -> None:
    for _ in range(2):
        with serving(tmp_path) as node:
            node.process.send_signal(signal.SIGTERM)
            assert node.process.wait(SECONDS) == 0


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused(tmp_path, "--dimse-port", port, "--http-port", "0")
        assert said.count("\n") == 1
        assert port in said
        assert "dimse.port" in said
        assert "web.port" in refused(tmp_path, "--dimse-port", "0", "--http-port", port)
    assert not (tmp_path / "dicomwire-data").exists()


def test_a_folder_in_use_is_one_line(tmp_path: Path) -> None:
    with serving(tmp_path):
        said = refused(tmp_path, "--dimse-port", "0", "--http-port", "0")
        assert said.count("\n") == 1
        assert "dicomwire-data" in said


def test_a_data_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = refused(tmp_path, "--data", "file", "--dimse-port", "0", "--http-port", "0")
    assert said.count("\n") == 1
    assert "file" in said


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    folder = "/proc/dicomwire"  # where root may not write either
    said = refused(tmp_path, "--data", folder, "--dimse-port", "0", "--http-port", "0")
    assert said.count("\n") == 1
    assert folder in said


def test_a_missing_certificate_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "dicomwire.toml").write_text('[web.tls]\ncertificate = "absent.pem"\n')
    said = refused(tmp_path, "--dimse-port", "0", "--http-port", "0")
    assert said.count("\n") == 1
    assert "absent.pem" in said


def test_an_address_of_another_machine_is_one_line(tmp_path: Path) -> None:
    said = refused(tmp_path, "--host", "192.0.2.1", "--open", "--dimse-port", "0", "--http-port", "0")
    assert "no such address" in said


def test_a_public_address_needs_open(tmp_path: Path) -> None:
    assert "--open" in refused(tmp_path, "--host", "0.0.0.0")
    with serving(tmp_path, "--host", "0.0.0.0", "--open") as node:
        assert node.get("/healthz")[0] == 200
        assert node.web.startswith("http://127.0.0.1:")


def test_json_logs_are_json(tmp_path: Path) -> None:
    (tmp_path / "dicomwire.toml").write_text('[log]\nformat = "json"\n')
    with serving(tmp_path) as node:
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(SECONDS) == 0
    lines = (tmp_path / "log").read_text().splitlines()
    assert {"node stops", "node stopped"} <= {json.loads(line)["event"] for line in lines}
