"""Every cause on a capture of real peers, and none on clean traffic: all of them in one recording of `lo`."""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.receivers import free_port
from dicomwire.diagnose.explain import Explanation, explain
from dicomwire.diagnose.finding import Outcome, Severity, Story
from tests.interop.scenes import ALONE, CLEAN, LOOPBACK, SCENES

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings(
        "ignore::pytest.PytestUnraisableExceptionWarning"
    ),  # pynetdicom leaves sockets
]


@dataclass
class Recording:
    """What was recorded, and the port of each scene."""

    explanation: Explanation
    ports: dict[str, int]

    def stories(self, name: str) -> list[Story]:
        port = self.ports[name]
        return [story for story in self.explanation.stories if story.acceptor.port == port]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    tool = shutil.which("dumpcap")
    if tool is None or shutil.which("storescp") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("missing dumpcap or DCMTK")
        pytest.skip("missing dumpcap or DCMTK")
    if os.geteuid() != 0:
        pytest.skip("only root may capture")
    folder = tmp_path_factory.mktemp("captures")
    file = folder / "lo.pcapng"
    command = [tool, "-i", "lo", "-q", "-B", "64", "-f", f"host {LOOPBACK}", "-w", str(file)]
    capture = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert capture.stderr is not None
    if not any(line.startswith("File:") for line in capture.stderr):
        capture.wait(20)
        capture.stderr.close()
        pytest.skip("capturing is not allowed here")
    _await_packets(file)
    try:
        ports = _play(folder)
        _await_packets(file)
    finally:
        capture.send_signal(signal.SIGINT)
        capture.wait(20)
        capture.stderr.close()
    yield Recording(explain(str(file), [file.read_bytes()]), ports)
    # pynetdicom leaves sockets to the collector, which warns of them: here, where that is no matter.
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and "pynetdicom" in type(thread).__module__:
            thread.join(2)
    gc.collect()


def _await_packets(file: Path) -> None:
    """Until a packet that is sent now is in the file: then everything before it is, too."""
    port = free_port()
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        with socket.socket() as probe:
            probe.connect_ex((LOOPBACK, port))
        threading.Event().wait(0.1)
        if file.exists() and port.to_bytes(2, "big") + b"\0\0\0\0\xa0\x02" in _without_sequences(file):
            return


def _without_sequences(file: Path) -> bytes:
    return re.sub(rb"(..)....(\0\0\0\0\xa0\x02)", rb"\1\2", file.read_bytes(), flags=re.DOTALL)


def _play(folder: Path) -> dict[str, int]:
    """All scenes, some at the same time."""
    plays = {name: scene.play for name, scene in SCENES.items()} | CLEAN
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        waiting = {
            name: pool.submit(play, stack, folder) for name, play in plays.items() if name not in ALONE
        }
        ports = {name: future.result(60) for name, future in waiting.items()}
        ports |= {name: plays[name](stack, folder) for name in ALONE}
    return ports


@pytest.mark.parametrize("name", SCENES)
def test_a_fault_between_real_peers_is_named(recording: Recording, name: str) -> None:
    scene = SCENES[name]
    stories = recording.stories(name)
    verdicts = [story.verdict.code for story in stories if story.verdict]
    found = [finding.code for story in stories for finding in story.findings]
    assert scene.code in (verdicts if scene.verdict else found), (verdicts, found)


@pytest.mark.parametrize("name", CLEAN)
def test_clean_traffic_of_real_peers_has_no_verdict(recording: Recording, name: str) -> None:
    stories = recording.stories(name)
    assert stories
    for story in stories:
        assert story.outcome is Outcome.OK, story.verdict
        assert not [finding.code for finding in story.findings if finding.severity is Severity.FAILURE]
