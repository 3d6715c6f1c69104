"""DCMTK's clients, unchanged, against this node."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.receivers import system_program
from tests.interop.conftest import BitPreservingStoreSCP, StartNode
from tests.interop.support import (
    DEFLATED,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    BundledFile,
    Node,
    bundled_files,
    data_set_of,
    differences,
    generations,
    read,
    run,
)

# What storescu has to propose so that a file goes out in the transfer syntax it is stored in.
STORESCU_PROPOSAL = {
    EXPLICIT_LE: "-xe",
    IMPLICIT_LE: "-xi",
    EXPLICIT_BE: "-xb",
    DEFLATED: "-xd",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
}
GENERATIONS = generations(bundled_files())

pytestmark = pytest.mark.usefixtures("dcmtk")


def test_every_bundled_transfer_syntax_can_be_proposed() -> None:
    assert {each.transfer_syntax_uid for each in bundled_files()} <= set(STORESCU_PROPOSAL)


@pytest.mark.parametrize(
    "titles",
    [(), ("-aec", "ANYTHING"), ("-aet", "X", "-aec", "sixteencharacter")],
    ids=["default", "any", "16"],
)
def test_echoscu_needs_no_ae_title_configured(node: Node, titles: tuple[str, ...]) -> None:
    echoed = run("echoscu", *titles, "127.0.0.1", str(node.dimse_port))
    assert echoed.returncode == 0, echoed.stderr + node.log


def test_storescu_without_options_needs_no_ae_title_configured(node: Node) -> None:
    file = _named("CT_small.dcm")
    stored = run("storescu", "127.0.0.1", str(node.dimse_port), file.path)
    assert stored.returncode == 0, stored.stderr + node.log
    assert set(node.instances()) == {file.sop_instance_uid}


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda group: f"{len(group)}-files")
def test_storescu_stores_every_bundled_file_as_it_sent_it(
    start_node: StartNode, storescp: BitPreservingStoreSCP, generation: list[BundledFile]
) -> None:
    """What storescu puts on the wire is what storescp +B writes: the node has to hold the same bytes."""
    node = start_node()
    for syntax, proposal in STORESCU_PROPOSAL.items():
        files = [each.path for each in generation if each.transfer_syntax_uid == syntax]
        for port in (storescp.dimse_port, node.dimse_port) if files else ():
            run("storescu", "-R", "-nh", proposal, "127.0.0.1", str(port), *files)
    sent = storescp.received()
    assert set(node.instances()) == set(sent)
    for file in (each for each in generation if each.sop_instance_uid in sent):
        found = node.retrieve(file)
        original = sent[file.sop_instance_uid]
        if file.leaves_the_web_door_as_stored:
            assert data_set_of(found) == data_set_of(original), file.path.name
        else:
            assert read(found).file_meta.TransferSyntaxUID == EXPLICIT_LE
            assert differences(read(original), read(found)) == [], file.path.name


def test_storescu_can_send_nearly_every_bundled_file(storescp: BitPreservingStoreSCP) -> None:
    """Guards the test above: were storescu to refuse its files, it would compare nothing."""
    for syntax, proposal in STORESCU_PROPOSAL.items():
        files = [each.path for each in GENERATIONS[0] if each.transfer_syntax_uid == syntax]
        if files:
            run("storescu", "-R", "-nh", proposal, "127.0.0.1", str(storescp.dimse_port), *files)
    assert len(storescp.received()) >= len(GENERATIONS[0]) - 5


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda group: f"{len(group)}-files")
def test_dcmsend_stores_every_bundled_file_with_equal_values(
    start_node: StartNode, storescp: BitPreservingStoreSCP, generation: list[BundledFile]
) -> None:
    node = start_node()
    for port in (storescp.dimse_port, node.dimse_port):
        run("dcmsend", "-dn", "-nh", "-nuc", "127.0.0.1", str(port), *(each.path for each in generation))
    # rtdose_rle.dcm says VR UN for its SOP instance UID; dcmsend puts "31\\2e\\39..." into the command.
    named = {each.sop_instance_uid for each in generation}
    sent = {uid: part10 for uid, part10 in storescp.received().items() if uid in named}
    assert len(sent) >= len(generation) - 1
    assert set(node.instances()) == set(sent)
    for file in (each for each in generation if each.sop_instance_uid in sent):
        wrong = differences(read(sent[file.sop_instance_uid]), read(node.retrieve(file)))
        assert wrong == [], file.path.name


def test_dcmsend_of_a_folder_tree_over_several_associations(node: Node, tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    folder = _named("CT_small.dcm").path.parent / "dicomdirtests" / "98892003"
    sent = run("dcmsend", "+sd", "+r", "+crf", report, "127.0.0.1", str(node.dimse_port), folder)
    assert sent.returncode == 0, sent.stderr + node.log
    files = [each for each in bundled_files() if folder in each.path.parents]
    assert set(node.instances()) == {each.sop_instance_uid for each in files}
    assert "with status SUCCESS" in report.read_text()


def test_storescu_over_eight_associations_at_once(node: Node) -> None:
    files = [each for each in GENERATIONS[0] if each.transfer_syntax_uid == EXPLICIT_LE]
    senders = [
        subprocess.Popen(
            [
                str(system_program("storescu")),
                "-R",
                "127.0.0.1",
                str(node.dimse_port),
                *(str(each.path) for each in files[number::8]),
            ]
        )
        for number in range(8)
    ]
    assert [sender.wait(60) for sender in senders] == [0] * 8
    assert set(node.instances()) == {each.sop_instance_uid for each in files}


def test_the_same_instance_again_is_success_and_stored_once(node: Node) -> None:
    file = _named("CT_small.dcm")
    for _ in range(2):
        assert run("storescu", "127.0.0.1", str(node.dimse_port), file.path).returncode == 0
    assert set(node.instances()) == {file.sop_instance_uid}


def test_storescu_with_user_name_and_passcode_is_served(node: Node) -> None:
    """A node that asks for no identity takes one that comes (PS3.7 D.3.3.7)."""
    file = _named("CT_small.dcm").path
    for identity in (["-usr", "alice"], ["-usr", "alice", "-pwd", "secret"]):
        stored = run("storescu", *identity, "127.0.0.1", str(node.dimse_port), file)
        assert stored.returncode == 0, stored.stderr + node.log


@pytest.mark.parametrize("length", [4096, 16384, 131072])
def test_any_maximum_length_of_the_peer_is_kept(node: Node, length: int) -> None:
    echoed = run("echoscu", "-pdu", str(length), "127.0.0.1", str(node.dimse_port))
    assert echoed.returncode == 0, echoed.stderr


def _named(name: str) -> BundledFile:
    return next(each for each in bundled_files() if each.path.name == name)
