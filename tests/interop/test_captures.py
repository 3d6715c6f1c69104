"""Every cause on a capture of real peers, and none on clean traffic.

What peers do is recorded on `lo`, all of it in one capture; what networks do is recorded on machines of their
own, a capture each.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.receivers import Orthanc, StoreSCP
from dicomwire.diagnose.explain import Explanation, explain
from dicomwire.diagnose.finding import Outcome, Severity, Story
from dicomwire.diagnose.rules import RULE_OF
from tests.interop import scenes
from tests.interop.conftest import require
from tests.interop.network import Network
from tests.interop.recording import recorded, require_recording
from tests.interop.scenes.stage import ALONE, CLEAN, LOOPBACK, NETWORK_SCENES, SCENES, NetworkScene, Scene

assert scenes

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings(
        "ignore::pytest.PytestUnraisableExceptionWarning"
    ),  # pynetdicom leaves sockets
]


@dataclass
class Recording:
    """What was recorded on `lo`, and the port of each scene."""

    explanation: Explanation
    ports: dict[str, int]

    def stories(self, name: str) -> list[Story]:
        port = self.ports[name]
        return [story for story in self.explanation.stories if story.acceptor.port == port]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    require_recording()
    for peer in (StoreSCP, Orthanc):
        require(peer)
    folder = tmp_path_factory.mktemp("captures")
    file = folder / "lo.pcapng"
    with recorded(file, "lo", LOOPBACK, wanted=f"host {LOOPBACK}"):
        ports = _play(folder)
    yield Recording(explain(str(file), [file.read_bytes()]), ports)
    # pynetdicom leaves sockets to the collector, which warns of them: here, where that is no matter.
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and "pynetdicom" in type(thread).__module__:
            thread.join(2)
    gc.collect()


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


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Explanation]:
    require_recording("ip", "unshare")
    require(StoreSCP)

    def play(name: str) -> Explanation:
        folder = tmp_path_factory.mktemp("network")
        with Network(folder) as network, ExitStack() as stack:
            NETWORK_SCENES[name].play(network, stack, folder)
        return explain(name, [network.capture.read_bytes()])

    with ThreadPoolExecutor(6) as pool:
        return dict(zip(NETWORK_SCENES, pool.map(play, NETWORK_SCENES), strict=True))


@pytest.mark.parametrize("name", SCENES)
def test_a_fault_between_real_peers_is_named(recording: Recording, name: str) -> None:
    _check(SCENES[name], recording.stories(name))


@pytest.mark.parametrize("name", NETWORK_SCENES)
def test_a_fault_of_the_network_is_named(networks: dict[str, Explanation], name: str) -> None:
    if NETWORK_SCENES[name].code:
        _check(NETWORK_SCENES[name], networks[name].stories)
    else:
        _check_clean(networks[name].stories)


def _check(scene: Scene | NetworkScene, stories: Sequence[Story]) -> None:
    verdicts = [story.verdict.code for story in stories if story.verdict]
    found = [finding.code for story in stories for finding in story.findings]
    assert scene.code in (verdicts if scene.verdict else found), (verdicts, found)


@pytest.mark.parametrize("name", CLEAN)
def test_clean_traffic_of_real_peers_has_no_verdict(recording: Recording, name: str) -> None:
    _check_clean(recording.stories(name))


def _check_clean(stories: Sequence[Story]) -> None:
    assert stories
    for story in stories:
        assert story.outcome is Outcome.OK, story.verdict
        assert not [finding.code for finding in story.findings if finding.severity is Severity.FAILURE]


def test_every_cause_fires_on_a_capture_of_real_peers() -> None:
    played = {scene.code for scene in (*SCENES.values(), *NETWORK_SCENES.values())}
    assert played - {""} == set(RULE_OF)
