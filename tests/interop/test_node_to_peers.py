"""This node's command line as SCU: `dicomwire echo` and `dicomwire send` to every peer, bit for bit."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from benchmarks.receivers import DcmQRSCP, Orthanc, Receiver, free_port
from tests.interop.conftest import BitPreservingStoreSCP, StartNode
from tests.interop.support import (
    TRUNCATED,
    BundledFile,
    Node,
    bundled_files,
    data_set_of,
    differences,
    generations,
    read,
    refused_files,
    run,
)

if TYPE_CHECKING:
    from pynetdicom.events import Event

# Instances in bundled files without preamble or file meta: their data sets name all that is needed.
BARE_DATA_SETS = {"1.2.333.4444.5.6.7.8", "1.2.826.0.1.3680043.8.498.2010020400001"}
GENERATIONS = generations(bundled_files())


def test_echo_to_every_peer(
    storescp: BitPreservingStoreSCP, dcmqrscp: DcmQRSCP, orthanc: Orthanc, pynetdicom_scp: ReceivingSCP
) -> None:
    peers: list[tuple[str, int]] = [
        (each.ae_title, each.dimse_port) for each in (storescp, dcmqrscp, orthanc)
    ]
    for ae_title, port in (*peers, ("PYNETDICOM", pynetdicom_scp.port)):
        echoed = run("dicomwire", "echo", f"{ae_title}@127.0.0.1:{port}")
        assert echoed.returncode == 0, (ae_title, echoed.stdout, echoed.stderr)


def test_echo_to_nobody_is_status_1_and_names_the_address() -> None:
    port = free_port()
    echoed = run("dicomwire", "echo", f"NOBODY@127.0.0.1:{port}")
    assert echoed.returncode == 1
    assert str(port) in echoed.stdout + echoed.stderr
    assert "Traceback" not in echoed.stderr


def test_a_malformed_address_is_wrong_use() -> None:
    assert run("dicomwire", "echo", "no-port-here").returncode == 2


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda group: f"{len(group)}-files")
def test_send_to_storescp_is_bit_for_bit(
    storescp: BitPreservingStoreSCP, generation: list[BundledFile]
) -> None:
    sent = run("dicomwire", "send", _address(storescp), *(each.path for each in generation))
    received = storescp.received()
    assert set(received) == {each.sop_instance_uid for each in generation}, sent.stdout + sent.stderr
    assert sent.returncode == 0, sent.stdout + sent.stderr
    for each in generation:
        assert data_set_of(received[each.sop_instance_uid]) == each.data_set_padded, each.path.name


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda group: f"{len(group)}-files")
def test_send_to_pynetdicom_is_bit_for_bit(
    pynetdicom_scp: ReceivingSCP, generation: list[BundledFile]
) -> None:
    address = f"PYNETDICOM@127.0.0.1:{pynetdicom_scp.port}"
    sent = run("dicomwire", "send", address, *(each.path for each in generation))
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert pynetdicom_scp.received == {each.sop_instance_uid: each.data_set_padded for each in generation}


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda group: f"{len(group)}-files")
def test_send_to_this_node_is_bit_for_bit(start_node: StartNode, generation: list[BundledFile]) -> None:
    node = start_node()
    sent = run("dicomwire", "send", node.address, *(each.path for each in generation))
    assert sent.returncode == 0, sent.stdout + sent.stderr
    _held_as_sent(node, generation)


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda group: f"{len(group)}-files")
def test_send_to_a_dicomweb_url_is_bit_for_bit(start_node: StartNode, generation: list[BundledFile]) -> None:
    node = start_node()
    sent = run("dicomwire", "send", node.url(""), *(each.path for each in generation))
    assert sent.returncode == 0, sent.stdout + sent.stderr
    _held_as_sent(node, generation)


def test_send_to_dcmqrscp(dcmqrscp: DcmQRSCP) -> None:
    files = [each for each in GENERATIONS[0] if each.path.name.startswith(("CT_small", "MR_small", "IM0000"))]
    sent = run("dicomwire", "send", _address(dcmqrscp), *(each.path for each in files))
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert dcmqrscp.count() == len(files)


def test_send_to_orthanc_is_value_for_value(orthanc: Orthanc) -> None:
    """Orthanc writes data sets anew, so values are compared; it refuses some damaged files of pydicom's."""
    files = {
        each.sop_instance_uid: each for each in GENERATIONS[0] if each.sop_class_uid.endswith((".2", ".4"))
    }
    sent = run("dicomwire", "send", _address(orthanc), *(each.path for each in files.values()))
    assert sent.returncode == 0, sent.stdout + sent.stderr
    base = f"http://127.0.0.1:{orthanc.http_port}/instances"
    with urllib.request.urlopen(base) as answer:
        held = [read(_fetched(f"{base}/{each}/file")) for each in json.load(answer)]
    assert {each.SOPInstanceUID for each in held} == set(files)
    for each in held:
        assert differences(read(files[each.SOPInstanceUID].path), each) == []


def test_send_of_a_folder_names_what_it_refuses(node: Node) -> None:
    folder = refused_files()[0].parent
    while folder.name != "test_files":
        folder = folder.parent
    sent = run("dicomwire", "send", node.address, folder)
    assert sent.returncode == 1
    said = sent.stdout + sent.stderr
    assert [each.name for each in refused_files() if each.name not in said] == []
    assert [name for name in TRUNCATED if name not in said] == []
    assert "Traceback" not in said
    named = {each.sop_instance_uid for each in bundled_files()}
    assert set(node.instances()) == named | BARE_DATA_SETS


def test_send_to_a_peer_that_refuses_everything_is_status_1(node: Node, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("dicomwire", "send", node.address, empty / "absent.dcm").returncode in (1, 2)
    refused = run("dicomwire", "send", f"NOBODY@127.0.0.1:{free_port()}", bundled_files()[0].path)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr


class ReceivingSCP:
    """pynetdicom's AE in this process, keeping each data set as it came."""

    def __init__(self) -> None:
        self.received: dict[str, bytes] = {}
        self.ae = AE("PYNETDICOM")
        self.ae.maximum_pdu_size = 0
        syntaxes = sorted({each.transfer_syntax_uid for each in bundled_files()})
        classes = {each.sop_class_uid for each in bundled_files()}
        known = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
        self.ae.supported_contexts = [build_context(uid, syntaxes) for uid in sorted(classes | known)] + [
            build_context(Verification)
        ]
        self.server = self.ae.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        self.port: int = self.server.socket.getsockname()[1] if self.server and self.server.socket else 0

    def _store(self, event: Event) -> int:
        request = event.request
        assert isinstance(request, C_STORE)
        assert request.DataSet is not None
        assert request.AffectedSOPInstanceUID is not None
        self.received[str(request.AffectedSOPInstanceUID)] = request.DataSet.getvalue()
        return 0x0000


@pytest.fixture
def pynetdicom_scp() -> Iterator[ReceivingSCP]:
    """A storage SCP of pynetdicom."""
    scp = ReceivingSCP()
    yield scp
    scp.ae.shutdown()


def _address(peer: Receiver) -> str:
    return f"{peer.ae_title}@127.0.0.1:{peer.dimse_port}"


def _held_as_sent(node: Node, files: list[BundledFile]) -> None:
    assert set(node.instances()) == {each.sop_instance_uid for each in files}
    for each in files:
        found = node.retrieve(each)
        if each.leaves_the_web_door_as_stored:
            assert data_set_of(found) in (each.data_set, each.data_set_padded), each.path.name
        else:
            assert differences(read(each.path), read(found)) == [], each.path.name


def _fetched(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        found: bytes = answer.read()
        return found
