"""Both doors lead to the same archive: the same bytes, the same rows, the same outcomes."""

from __future__ import annotations

import pytest

from tests.interop.conftest import StartNode
from tests.interop.support import (
    EXPLICIT_LE,
    BundledFile,
    Node,
    bundled_files,
    data_set_of,
    differences,
    generations,
    read,
    refused_files,
)

GENERATIONS = generations(bundled_files())
FAILED_SOP_SEQUENCE = "00081198"


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda group: f"{len(group)}-files")
def test_dimse_and_stow_store_the_same_bytes_and_rows(
    start_node: StartNode, generation: list[BundledFile]
) -> None:
    by_dimse, by_web = start_node(), start_node()
    assert {each.path.name: by_dimse.c_store(each) for each in generation} == {
        each.path.name: 0x0000 for each in generation
    }
    answer = by_web.stow(each.path.read_bytes() for each in generation)
    assert answer.status == 200, answer.body[:1000]
    rows = by_dimse.instances()
    assert rows == by_web.instances()
    assert set(rows) == {each.sop_instance_uid for each in generation}
    for each in generation:
        found = by_dimse.retrieve(each)
        assert data_set_of(found) == data_set_of(by_web.retrieve(each)), each.path.name
        if each.leaves_the_web_door_as_stored:
            assert data_set_of(found) == each.data_set, each.path.name
            assert read(found).file_meta.TransferSyntaxUID == each.transfer_syntax_uid
        else:
            assert read(found).file_meta.TransferSyntaxUID == EXPLICIT_LE
            assert differences(read(each.path), read(found)) == [], each.path.name


PIXEL_ATTRIBUTES = {  # that decoding may change: photometric interpretation, planar configuration, pixels
    "(0028,0004)",
    "(0028,0006)",
    "(7FE0,0010)",
}


def test_instances_leave_as_explicit_little_endian_without_a_transfer_syntax(node: Node) -> None:
    """PS3.18 8.7.3.5.2: the default; what nothing here can decode leaves as it is stored."""
    decoded = 0
    for each in GENERATIONS[0]:
        assert node.c_store(each) == 0x0000
        answer = node.get(each.resource, 'multipart/related; type="application/dicom"')
        (found,) = answer.parts()
        stored, left = read(each.path), read(found)
        syntax, own = left.file_meta.TransferSyntaxUID, stored.file_meta.TransferSyntaxUID
        if syntax != EXPLICIT_LE:
            assert syntax == own, each.path.name
            assert data_set_of(found) == each.data_set, each.path.name
        elif own.is_compressed and not own.is_deflated:
            decoded += 1
            changed = {line[:11] for line in differences(stored, left)}
            assert changed <= PIXEL_ATTRIBUTES, each.path.name
        else:
            assert differences(stored, left) == [], each.path.name
    assert decoded > 10


def test_conflicting_instances_have_the_same_outcome_at_both_doors(start_node: StartNode) -> None:
    """The same UID with other content is stored with a warning at either door; the first is kept."""
    pair = [each for each in bundled_files() if each.sop_instance_uid == _most_shared()]
    first, second = pair[0], pair[-1]
    by_dimse, by_web = start_node(), start_node()
    assert by_dimse.c_store(first) == 0x0000
    assert by_dimse.c_store(second) in (0xB000, 0x0000)
    assert by_web.stow([first.path.read_bytes()]).status == 200
    assert by_web.stow([second.path.read_bytes()]).status in (200, 202)
    assert by_dimse.instances() == by_web.instances()
    assert data_set_of(by_dimse.retrieve(first)) == data_set_of(by_web.retrieve(first))


def test_files_without_their_uids_are_refused_at_both_doors(node: Node) -> None:
    for path in refused_files():
        answer = node.stow([path.read_bytes()])
        assert answer.status in (400, 409), (path.name, answer.status)
    lacking = next(each for each in refused_files() if each.name == "JPEGLSNearLossless_08.dcm")
    data = read(lacking)
    file = BundledFile(
        lacking, data.SOPClassUID, data.SOPInstanceUID, "", "", data.file_meta.TransferSyntaxUID
    )
    assert node.c_store(file) & 0xF000 in (0xA000, 0xC000)
    assert node.instances() == {}


def test_one_bad_file_in_a_request_leaves_the_others_stored(node: Node) -> None:
    good = GENERATIONS[0][:3]
    bad = next(each for each in refused_files() if each.name == "JPEGLSNearLossless_08.dcm")
    answer = node.stow(
        [good[0].path.read_bytes(), bad.read_bytes(), *(x.path.read_bytes() for x in good[1:])]
    )
    assert answer.status == 202
    assert len(answer.json()[0][FAILED_SOP_SEQUENCE]["Value"]) == 1
    assert set(node.instances()) == {each.sop_instance_uid for each in good}


def _most_shared() -> str:
    uids = [each.sop_instance_uid for each in bundled_files()]
    return max(set(uids), key=uids.count)
