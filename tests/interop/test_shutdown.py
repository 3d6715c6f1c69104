"""SIGTERM: exit 0, nothing acknowledged lost, ready again within a second."""

from __future__ import annotations

import signal
import subprocess
import threading
from pathlib import Path

from benchmarks import data, load, wire
from benchmarks.receivers import free_port
from tests.interop.support import Node, bundled_files, data_set_of


def test_it_prints_one_ready_line_with_both_addresses(tmp_path: Path) -> None:
    dimse_port, http_port = free_port(), free_port()
    command = [Node.program(), "serve", "--data", str(tmp_path / "data")]
    command += ["--dimse-port", str(dimse_port), "--http-port", str(http_port)]
    serving = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path
    )
    try:
        assert serving.stdout is not None
        line = serving.stdout.readline()
        assert "ready" in line
        assert str(dimse_port) in line
        assert str(http_port) in line
        association = wire.associate(
            dimse_port,
            called_ae_title="DICOMWIRE",
            abstract_syntax=wire.VERIFICATION,
            transfer_syntax=wire.IMPLICIT,
        )
        assert association.echo() == 0x0000
        association.release()
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(15) == 0
        assert "ready" not in serving.stdout.read()
    finally:
        if serving.poll() is None:
            serving.kill()
        serving.communicate()


def test_sigterm_without_associations_ends_at_once(node: Node) -> None:
    assert node.stop() == 0


def test_sigint_ends_it_too(node: Node) -> None:
    assert node.stop(signal.SIGINT) in (0, 130)


def test_sigterm_in_the_middle_of_a_transfer_loses_nothing_acknowledged(node: Node) -> None:
    """Every instance whose 0000 a client has seen is there after the restart, byte for byte."""
    sent = [data.make("small", number) for number in range(400)]
    acknowledged: list[str] = []
    some = threading.Event()

    def send(share: list[data.Instance]) -> None:
        try:
            association = wire.associate(
                node.dimse_port, called_ae_title=node.ae_title, abstract_syntax=share[0].sop_class_uid
            )
            with association.socket:
                for number, each in enumerate(share):
                    for piece in load.message(association.fragment, number, each):
                        association.socket.sendall(piece)
                    if association.receive_status() == 0x0000:
                        acknowledged.append(each.sop_instance_uid)
                    if len(acknowledged) >= 60:
                        some.set()
        except (OSError, wire.PeerError):
            return

    senders = [threading.Thread(target=send, args=(sent[number::4],)) for number in range(4)]
    for sender in senders:
        sender.start()
    assert some.wait(60), node.log
    assert node.stop() == 0
    for sender in senders:
        sender.join(60)
    node.start()
    held = node.instances()
    assert set(acknowledged) <= set(held)
    for each in sent:
        if each.sop_instance_uid in set(acknowledged):
            row = held[each.sop_instance_uid]
            series = row["0020000E"]["Value"][0]
            path = f"/studies/{each.study_instance_uid}/series/{series}/instances/{each.sop_instance_uid}"
            (found,) = node.get(
                path, 'multipart/related; type="application/dicom"; transfer-syntax=*'
            ).parts()
            assert data_set_of(found) == b"".join(each.data_set())


def test_what_was_stored_is_there_after_a_restart_on_the_same_folder(node: Node) -> None:
    file = next(each for each in bundled_files() if each.path.name == "CT_small.dcm")
    assert node.c_store(file) == 0x0000
    before = node.instances()
    assert node.stop() == 0
    node.start()
    assert node.instances() == before
    assert data_set_of(node.retrieve(file)) == file.data_set
