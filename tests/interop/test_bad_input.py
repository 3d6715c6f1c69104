"""Anything a peer may send ends in an answer of the standard or a close, and costs nobody else anything."""

from __future__ import annotations

import socket
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.interop.support import (
    DEFLATED,
    IMPLICIT_LE,
    BundledFile,
    Node,
    bundled_files,
    data_set_of,
    truncated_files,
)

ITEM = b"\xfe\xff\x00\xe0"
ITEM_END = b"\xfe\xff\x0d\xe0" + bytes(4)
SEQUENCE_END = b"\xfe\xff\xdd\xe0" + bytes(4)
UNDEFINED = b"\xff\xff\xff\xff"
GIGABYTES = 2 << 30
A_ASSOCIATE_RJ, A_ABORT = b"\x03", b"\x07"  # PDU types (PS3.8 9.3.4, 9.3.8)


def test_a_data_set_cut_inside_an_element_is_not_understood(node: Node) -> None:
    good = _ct()
    _refused(node, good, good.data_set[: len(good.data_set) // 2])


def test_truncated_files_are_refused_at_both_doors(node: Node) -> None:
    for each in truncated_files():
        _refused(node, each, each.data_set)
        assert node.stow([each.path.read_bytes()]).status in (400, 409)


def test_a_data_set_cut_at_every_early_byte_is_refused(node: Node) -> None:
    """Nothing before the Series Instance UID can be indexed, whole elements or not."""
    good = _ct()
    end = good.data_set.index(good.series_instance_uid.encode())
    for length in range(0, end, 53):
        status, _ = node.c_store_bytes(good, good.data_set[:length] or b"\x08\x00")
        assert status & 0xF000 in (0xA000, 0xC000), length
    assert node.instances() == {}


def test_a_data_set_nested_ten_thousand_deep_is_refused(node: Node) -> None:
    good = _ct()
    opening = b"\x08\x00\x15\x11SQ\x00\x00" + UNDEFINED + ITEM + UNDEFINED
    nested = opening * 10_000 + (ITEM_END + SEQUENCE_END) * 10_000
    _refused(node, good, good.data_set[: _start(good, b"\x08\x00\x20\x11")] + nested)
    _refused(node, good, opening * 10_000)


def test_a_data_set_of_the_wrong_class_is_refused(node: Node) -> None:
    mr = replace(_ct(), sop_class_uid="1.2.840.10008.5.1.4.1.1.4")
    _refused(node, mr, mr.data_set)


@pytest.mark.parametrize(
    "uid", ["1.2.3.4.5", "../../../../etc/passwd", "1." * 32 + "1", "1.2..3", "1.2.3\\4.5", "%2e%2e/x"]
)
def test_a_data_set_of_another_instance_than_the_command_s_is_refused(node: Node, uid: str) -> None:
    good = _ct()
    _refused(node, replace(good, sop_instance_uid=uid), good.data_set)


@pytest.mark.parametrize("uid", ["../../../../etc/passwd", "1." * 32 + "1", "1.2..3", "1.2.3/4"])
def test_a_uid_that_is_none_is_refused_even_where_both_agree(node: Node, uid: str) -> None:
    good = _ct()
    data_set = _with_instance_uid(good, uid)
    _refused(node, replace(good, sop_instance_uid=uid), data_set)


def test_a_deflated_data_set_that_inflates_to_gigabytes_is_refused(node: Node) -> None:
    file = next(each for each in bundled_files() if each.transfer_syntax_uid == DEFLATED)
    _refused(node, file, _bomb())


def test_garbage_instead_of_a_deflated_data_set_is_refused(node: Node) -> None:
    file = next(each for each in bundled_files() if each.transfer_syntax_uid == DEFLATED)
    _refused(node, file, b"\x99" * 1000)


def test_explicit_bytes_in_an_implicit_context_are_refused_or_kept_as_they_came(node: Node) -> None:
    file = replace(_ct(), transfer_syntax_uid=IMPLICIT_LE)
    status, _ = node.c_store_bytes(file, file.data_set)
    assert status & 0xF000 in (0xA000, 0xC000)
    assert node.instances() == {}


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600),
        b"\x0bMSH|^~\\&|SENDER|HOSPITAL|||20240101||ADT^A01|1|P|2.5\r\x1c\r",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"PROXY TCP4 10.0.0.1 10.0.0.2 4000 104\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12),
        b"\x01\x00\xff\xff\xff\xff",
        b"\x04\x00\x00\x00\x00\x04\x00\x00\x00\x00",
        b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00",
        bytes(100),
        b"\x01\x00" + struct.pack(">I", 68) + bytes(68),
    ],
    ids=[
        "http",
        "tls",
        "hl7",
        "ssh",
        "proxy1",
        "proxy2",
        "4-gib-pdu",
        "p-data",
        "abort",
        "zeros",
        "empty-rq",
    ],
)
def test_other_first_bytes_on_the_dimse_port_are_answered_or_closed_and_leave_it_serving(
    node: Node, greeting: bytes
) -> None:
    """After a reject or an abort the peer has ARTIM's time to close by itself (PS3.8 9.2, Sta13)."""
    with socket.create_connection(("127.0.0.1", node.dimse_port), 10.0) as connected:
        connected.sendall(greeting)
        while connected.recv(4096)[:1] not in (b"", A_ASSOCIATE_RJ, A_ABORT):
            pass  # HTTP and TLS are answered in kind before the close
    assert node.c_store(_ct()) == 0x0000


def test_connections_that_say_nothing_keep_nobody_out(node: Node) -> None:
    silent = [socket.create_connection(("127.0.0.1", node.dimse_port)) for _ in range(200)]
    try:
        assert node.c_store(_ct()) == 0x0000
    finally:
        for each in silent:
            each.close()


@pytest.mark.parametrize(
    "path",
    [
        "/studies?limit=-1",
        "/studies?limit=x",
        "/studies?offset=1e9",
        "/studies?00100010",
        "/studies?NoSuchKeyword=1",
        "/studies?StudyDate=yesterday",
        "/studies?fuzzymatching=perhaps",
        "/studies?%00=%ff",
        "/studies/../../etc/passwd",
        "/studies/1.2.3/series/../../../x",
        "/studies/" + "1." * 40 + "1",
        "/studies/1.2.3/metadata",
        "/studies/1.2.3",
        "/studies/1.2.3/series/1.2/instances/1.2/frames/0",
        "/studies/1.2.3/series/1.2/instances/1.2/frames/a,b",
        "/nonsense",
    ],
)
def test_no_request_makes_the_web_door_fail(node: Node, path: str) -> None:
    answer = node.get(path)
    assert 200 <= answer.status < 500, (answer.status, answer.body)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/dicom", b"nonsense"),
        ("text/plain", b"hello"),
        ('multipart/related; type="application/dicom"', b""),
        ('multipart/related; type="application/dicom"; boundary=x', b""),
        (
            'multipart/related; type="application/dicom"; boundary=x',
            b"--x\r\n\r\n" + b"A" * 1000 + b"\r\n--x--",
        ),
        (
            'multipart/related; type="application/dicom"; boundary=x',
            b"--x\r\nContent-Type: application/dicom",
        ),
        ('multipart/related; type="image/gif"; boundary=x', b"--x\r\n\r\n\r\n--x--\r\n"),
        ("multipart/related; boundary=" + "y" * 5000, b"--y"),
    ],
    ids=["no-multipart", "text", "no-boundary", "empty", "garbage", "cut", "gif", "long-boundary"],
)
def test_a_malformed_upload_is_the_client_s_error(node: Node, content_type: str, body: bytes) -> None:
    answer = node.post("/studies", content_type, body)
    assert 400 <= answer.status < 500, (answer.status, answer.body)
    assert node.instances() == {}


def test_a_bomb_through_the_web_door_is_refused(node: Node) -> None:
    file = next(each for each in bundled_files() if each.transfer_syntax_uid == DEFLATED)
    whole = file.path.read_bytes()
    assert node.stow([whole[: -len(file.data_set)] + _bomb()]).status in (400, 409, 413)
    assert node.instances() == {}


def _refused(node: Node, file: BundledFile, data_set: bytes) -> None:
    """Refused with A7xx, A9xx or Cxxx and a comment; nothing stored; the next good instance is."""
    status, comment = node.c_store_bytes(file, data_set)
    assert status & 0xFF00 in (0xA700, 0xA900) or status & 0xF000 == 0xC000, f"{status:04X}"
    assert 0 < len(comment) <= 64
    good = next(each for each in bundled_files() if each.path.name == "SC_rgb_rle.dcm")
    assert set(node.instances()) <= {good.sop_instance_uid}
    assert node.c_store(good) == 0x0000
    assert data_set_of(node.retrieve(good)) == good.data_set
    assert set(node.instances()) == {good.sop_instance_uid}


def _bomb() -> bytes:
    """A deflated data set of one private OB of zeros: two megabytes on the wire, two gigabytes inflated."""

    def pieces() -> Iterator[bytes]:
        deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        yield deflate.compress(b"\x09\x00\x10\x00OB\x00\x00" + struct.pack("<I", GIGABYTES))
        for _ in range(GIGABYTES >> 24):
            yield deflate.compress(bytes(1 << 24))
        yield deflate.flush()

    return b"".join(pieces())


def _ct() -> BundledFile:
    return next(each for each in bundled_files() if each.path.name == "CT_small.dcm")


def _start(file: BundledFile, tag: bytes) -> int:
    """Offset of the first element of the file whose tag's bytes are not below `tag`, in CT_small."""
    found = file.data_set.find(tag)
    return found if found >= 0 else file.data_set.index(b"\x10\x00\x10\x00PN")


def _with_instance_uid(file: BundledFile, uid: str) -> bytes:
    tag = b"\x08\x00\x18\x00UI"
    at = file.data_set.index(tag)
    length = int.from_bytes(file.data_set[at + 6 : at + 8], "little")
    value = uid.encode() + b"\0" * (len(uid) % 2)
    element = tag + struct.pack("<H", len(value)) + value
    return file.data_set[:at] + element + file.data_set[at + 8 + length :]
