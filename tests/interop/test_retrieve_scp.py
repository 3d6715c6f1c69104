"""C-MOVE and C-GET from this node, asked for by and sent to the peers' programs."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks import data, load
from benchmarks.receivers import DcmQRSCP, Orthanc, free_port
from tests.interop.conftest import BitPreservingStoreSCP, StartNode
from tests.interop.support import (
    EXPLICIT_LE,
    BundledFile,
    Node,
    bundled_files,
    data_set_of,
    differences,
    generations,
    read,
    run,
)

FILES = generations(bundled_files())[0]
PLAIN = [
    each
    for each in FILES
    if each.transfer_syntax_uid == EXPLICIT_LE and each.sop_class_uid.endswith((".1.2", ".1.4"))
]
COMPRESSED = generations(
    each for each in bundled_files() if each.path.name in ("JPEG2000.dcm", "SC_rgb_rle.dcm")
)[0]


def _node(start_node: StartNode, folder: Path, **places: int) -> Node:
    """A node that knows these application entities of this machine."""
    configuration = folder / "peers.toml"
    configuration.write_text(
        "".join(
            f'[[peers]]\nae_title = "{title}"\nhost = "127.0.0.1"\nport = {port}\n'
            for title, port in places.items()
        )
    )
    return start_node("--config", str(configuration))


def _fill(node: Node, files: list[BundledFile]) -> None:
    sent = run("dicomwire", "send", node.address, *(each.path for each in files))
    assert sent.returncode == 0, sent.stdout + sent.stderr


def _asked(program: str, node: Node, *options: str, **keys: str) -> tuple[str, ...]:
    named = [word for key, value in keys.items() for word in ("-k", f"{key}={value}")]
    return (program, *options, "-aec", node.ae_title, "127.0.0.1", str(node.dimse_port), *named)


def _studies(files: list[BundledFile]) -> str:
    return "\\".join(dict.fromkeys(each.study_instance_uid for each in files))


@pytest.mark.usefixtures("dcmtk")
def test_movescu_moves_everything_to_storescp_bit_for_bit(
    start_node: StartNode, storescp: BitPreservingStoreSCP, tmp_path: Path
) -> None:
    node = _node(start_node, tmp_path, STORESCP=storescp.dimse_port)
    _fill(node, FILES)
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": _studies(FILES)}
    moved = run(*_asked("movescu", node, "-v", "-S", "-aem", "STORESCP", **keys))
    assert "Success" in moved.stderr + moved.stdout, moved.stderr[-2000:]
    received = storescp.received()
    assert set(received) == {each.sop_instance_uid for each in FILES}
    for each in FILES:
        assert data_set_of(received[each.sop_instance_uid]) == each.data_set_padded, each.path.name


def test_dcmqrscp_and_orthanc_are_destinations(
    start_node: StartNode, dcmqrscp: DcmQRSCP, orthanc: Orthanc, tmp_path: Path
) -> None:
    node = _node(start_node, tmp_path, ARCHIVE=dcmqrscp.dimse_port, ORTHANC=orthanc.dimse_port)
    _fill(node, PLAIN)
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": _studies(PLAIN)}
    for peer in (dcmqrscp, orthanc):
        moved = run(*_asked("movescu", node, "-v", "-S", "-aem", peer.ae_title, **keys))
        assert "Success" in moved.stderr + moved.stdout, (peer.name, moved.stderr[-2000:])
        assert peer.count() == len(PLAIN), peer.name


def test_orthanc_retrieves_by_c_move(start_node: StartNode, orthanc: Orthanc, tmp_path: Path) -> None:
    node = _node(start_node, tmp_path, ORTHANC=orthanc.dimse_port)
    _fill(node, PLAIN)
    modality = {"AET": node.ae_title, "Host": "127.0.0.1", "Port": node.dimse_port}
    _ask(orthanc, "/modalities/node", modality, method="PUT")
    resources = [{"StudyInstanceUID": uid} for uid in _studies(PLAIN).split("\\")]
    wanted = {"Level": "Study", "Resources": resources, "TargetAet": orthanc.ae_title, "Synchronous": True}
    _ask(orthanc, "/modalities/node/move", wanted)
    assert orthanc.count() == len(PLAIN)
    files = {each.sop_instance_uid: each for each in PLAIN}
    for held in json.loads(_ask(orthanc, "/instances")):
        found = read(_ask(orthanc, f"/instances/{held}/file"))
        assert differences(read(files[found.SOPInstanceUID].path), found) == []


def _ask(orthanc: Orthanc, path: str, body: Mapping[str, object] | None = None, method: str = "") -> bytes:
    content = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(
        f"http://127.0.0.1:{orthanc.http_port}{path}", content, method=method or ("POST" if body else "GET")
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: bytes = answer.read()
    return found


@pytest.mark.usefixtures("dcmtk")
def test_getscu_gets_bit_for_bit_what_it_takes_as_stored_and_the_rest_decompressed(
    node: Node, tmp_path: Path
) -> None:
    _fill(node, [*PLAIN, *COMPRESSED])
    got = tmp_path / "got"
    got.mkdir()
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": _studies([*PLAIN, *COMPRESSED])}
    asked = run(*_asked("getscu", node, "-v", "-S", "+B", "-od", str(got), **keys))
    assert "Success" in asked.stderr + asked.stdout, asked.stderr[-2000:]
    received = {str(read(path).SOPInstanceUID): path for path in got.iterdir()}
    assert set(received) == {each.sop_instance_uid for each in (*PLAIN, *COMPRESSED)}
    for each in PLAIN:
        assert data_set_of(received[each.sop_instance_uid].read_bytes()) == each.data_set_padded
    for each in COMPRESSED:
        found = read(received[each.sop_instance_uid])
        assert not found.file_meta.TransferSyntaxUID.is_compressed
        assert (found.pixel_array == read(each.path).pixel_array).all(), each.path.name


@pytest.mark.usefixtures("dcmtk")
def test_movescu_that_cancels_gets_the_counts(
    start_node: StartNode, storescp: BitPreservingStoreSCP, tmp_path: Path
) -> None:
    node = _node(start_node, tmp_path, STORESCP=storescp.dimse_port)
    instances = [data.make("small", number) for number in range(100)]
    with load.send_raw(node.dimse_port, node.ae_title, instances, associations=1):
        pass
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": instances[0].study_instance_uid}
    moved = run(*_asked("movescu", node, "-d", "-S", "--cancel", "5", "-aem", "STORESCP", **keys))
    said = moved.stdout + moved.stderr
    assert "0xfe00" in said, said[-2000:]
    assert 0 < storescp.count() < 100
    assert f"Completed Suboperations       : {storescp.count()}" in said


@pytest.mark.usefixtures("dcmtk")
def test_movescu_is_told_what_is_wrong_with_the_destination(start_node: StartNode, tmp_path: Path) -> None:
    node = _node(start_node, tmp_path, DEAF=free_port())
    _fill(node, PLAIN[:1])
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": PLAIN[0].study_instance_uid}
    for title, status in (("NOBODY", "0xa801"), ("DEAF", "0xa702")):
        moved = run(*_asked("movescu", node, "-d", "-S", "-aem", title, **keys))
        assert status in moved.stdout + moved.stderr, (title, moved.stderr[-2000:])
    assert "nobody listens there" in node.log


def test_pynetdicom_moves_and_gets(
    start_node: StartNode, storescp: BitPreservingStoreSCP, tmp_path: Path
) -> None:
    node = _node(start_node, tmp_path, STORESCP=storescp.dimse_port)
    _fill(node, PLAIN)
    got = tmp_path / "got"
    got.mkdir()
    place = ("127.0.0.1", str(node.dimse_port), "-aec", node.ae_title, "-S")
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={PLAIN[0].study_instance_uid}")
    moved = run(sys.executable, "-m", "pynetdicom", "movescu", *place, "-aem", "STORESCP", *keys)
    assert moved.returncode == 0, moved.stderr
    asked = run(sys.executable, "-m", "pynetdicom", "getscu", *place, "-od", got, *keys)
    assert asked.returncode == 0, asked.stderr
    wanted = [each for each in PLAIN if each.study_instance_uid == PLAIN[0].study_instance_uid]
    assert set(storescp.received()) == {each.sop_instance_uid for each in wanted}
    assert len(list(got.iterdir())) == len(wanted)
    for path in got.iterdir():
        found = read(path)
        (source,) = (each for each in wanted if each.sop_instance_uid == found.SOPInstanceUID)
        assert differences(read(source.path), found) == []
