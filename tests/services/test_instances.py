"""Files to be sent: what they are, what is refused, and their bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from dicomwire.dicom.part10 import write_file_meta
from dicomwire.services import instances
from dicomwire.services.instances import Instance, Skipped, read_file, walk
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.services.fakes import CT

UIDS = {0x00080016: CT, 0x00080018: "1.2.3", 0x0020000D: "1.2.4", 0x0020000E: "1.2.5"}


def data_set(without: int = 0, more: bytes = b"") -> bytes:
    return b"".join(ui(tag, uid) for tag, uid in UIDS.items() if tag != without) + more


def ui(tag: int, uid: str) -> bytes:
    value = uid.encode() + b"\0" * (len(uid) % 2)
    return (
        (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + b"UI"
        + len(value).to_bytes(2, "little") + value
    )  # fmt: skip


def part10(content: bytes, sop_class_uid: str = CT) -> bytes:
    return write_file_meta(sop_class_uid, "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN) + content


def written(folder: Path, content: bytes) -> Path:
    path = folder / "file.dcm"
    path.write_bytes(content)
    return path


def opened(instance: Instance) -> tuple[bytes, bytes]:
    with instance.open() as found:
        return bytes(found.view), b"".join(bytes(piece) for piece in found.pieces())


def test_file_is_an_instance_with_the_bytes_of_its_data_set(tmp_path: Path) -> None:
    path = written(tmp_path, part10(data_set()))
    instance = read_file(path)
    assert isinstance(instance, Instance)
    assert (
        instance.name,
        instance.sop_class_uid,
        instance.sop_instance_uid,
        instance.transfer_syntax_uid,
    ) == (
        str(path),
        CT,
        "1.2.3",
        EXPLICIT_VR_LITTLE_ENDIAN,
    )
    assert instance.length == len(data_set())
    assert opened(instance) == (data_set(), data_set())


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        (0x00080016, "SOP Class UID"),
        (0x00080018, "SOP Instance UID"),
        (0x0020000D, "Study Instance UID"),
        (0x0020000E, "Series Instance UID"),
    ],
)
def test_data_set_without_one_of_the_four_uids_is_refused_by_name(
    tmp_path: Path, tag: int, name: str
) -> None:
    skipped = read_file(written(tmp_path, part10(data_set(without=tag))))
    assert skipped == Skipped(str(tmp_path / "file.dcm"), f"data set without {name}")


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm"])
def test_real_file_gives_its_data_set_bit_for_bit(name: str) -> None:
    path = Path(get_testdata_file(name))
    instance = read_file(path)
    assert isinstance(instance, Instance)
    expected = pydicom.dcmread(path, stop_before_pixels=True)
    assert instance.sop_class_uid == expected.SOPClassUID
    assert instance.sop_instance_uid == expected.SOPInstanceUID
    assert instance.transfer_syntax_uid == expected.file_meta.TransferSyntaxUID
    view, pieces = opened(instance)
    assert view == pieces == path.read_bytes()[-instance.length :]


def test_dicomdir_is_refused_by_name() -> None:
    skipped = read_file(Path(get_testdata_file("DICOMDIR")))
    assert isinstance(skipped, Skipped)
    assert "DICOMDIR" in skipped.reason


@pytest.mark.parametrize("content", [b"hello world" * 100, b"\x89PNG\r\n\x1a\n" * 40, b"\0" * 200, b"x"])
def test_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    skipped = read_file(written(tmp_path, content))
    assert isinstance(skipped, Skipped)
    assert skipped.reason


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert read_file(pipe) == Skipped(str(pipe), "not a regular file")
    assert read_file(tmp_path) == Skipped(str(tmp_path), "not a regular file")
    assert read_file(tmp_path / "none") == Skipped(str(tmp_path / "none"), "No such file or directory")
    assert read_file(written(tmp_path, b"")) == Skipped(str(tmp_path / "file.dcm"), "empty file")


def test_file_cut_anywhere_is_refused_or_an_instance_and_raises_nothing(tmp_path: Path) -> None:
    whole = part10(data_set())
    for length in range(len(whole)):
        result = read_file(written(tmp_path, whole[:length]))
        assert isinstance(result, Skipped)


def test_folder_is_walked_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a/9", "c"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    names = [str(path.relative_to(tmp_path)) for path in walk([tmp_path])]
    assert names == ["c", "loop", "a/9", "b/1", "b/2"] or names == ["c", "a/9", "b/1", "b/2"]
    assert list(walk([tmp_path / "none", tmp_path / "c"])) == [tmp_path / "none", tmp_path / "c"]


def test_large_file_comes_in_pieces_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "PIECE", 8_192)
    monkeypatch.setattr(instances, "KEPT", 16_384)
    monkeypatch.setattr(instances, "READ_AHEAD", 8_192)
    content = os.urandom(200_001)
    pixels = b"\xe0\x7f\x10\x00OB\0\0" + (len(content) + 1).to_bytes(4, "little") + content + b"\0"
    instance = read_file(written(tmp_path, part10(data_set(more=pixels))))
    assert isinstance(instance, Instance)
    view, pieces = opened(instance)
    assert view == pieces == data_set(more=pixels)


def test_file_that_is_gone_when_its_turn_comes_raises_os_error(tmp_path: Path) -> None:
    path = written(tmp_path, part10(data_set()))
    instance = read_file(path)
    assert isinstance(instance, Instance)
    path.write_bytes(b"")
    with pytest.raises(OSError, match="changed"):
        opened(instance)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        opened(instance)
