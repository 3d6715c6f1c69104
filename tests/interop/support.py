"""What the interoperability and crash tests share: bundled files, a node, a plain DICOMweb client."""

from __future__ import annotations

import io
import json
import re
import subprocess
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_files

from benchmarks import wire
from benchmarks.receivers import Dicomwire, system_program

AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
EXPLICIT_LE = "1.2.840.10008.1.2.1"
IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
TRUNCATED = ("MR_truncated.dcm", "rtplan_truncated.dcm")  # end inside an element: cannot be read back
UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
Row = dict[str, dict[str, list[str]]]  # an object of the DICOM JSON model, as far as the tests look into it
COMMAND_TIMEOUT = 120.0  # seconds


@dataclass(frozen=True, slots=True)
class BundledFile:
    """A DICOM file that pydicom carries and that names its class, instance, series and study."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str

    @property
    def data_set(self) -> bytes:
        """The data set's bytes as they lie in the file."""
        return data_set_of(self.path.read_bytes())

    @property
    def data_set_padded(self) -> bytes:
        """The same made even by a NUL, as a deflated one of odd length goes over DIMSE (PS3.5 A.5)."""
        return self.data_set + b"\0" * (len(self.data_set) % 2)

    @property
    def resource(self) -> str:
        """The instance's path under a DICOMweb service."""
        study, series, instance = self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid
        return f"/studies/{study}/series/{series}/instances/{instance}"

    @property
    def leaves_the_web_door_as_stored(self) -> bool:
        """Implicit VR Little Endian and Explicit VR Big Endian never leave it (PS3.18 8.7.3)."""
        return self.transfer_syntax_uid not in (IMPLICIT_LE, EXPLICIT_BE)


def data_set_of(part10: bytes) -> bytes:
    """The data set of a Part 10 file: what follows preamble, prefix and file meta (PS3.10 7.1)."""
    assert part10[128:132] == b"DICM"
    assert part10[132:138] == b"\x02\x00\x00\x00UL", "the file meta begins without its group length"
    return part10[144 + int.from_bytes(part10[140:144], "little") :]


@cache
def bundled_files() -> tuple[BundledFile, ...]:
    """Every file of pydicom's that can be stored, in path order."""
    found = (_named(path) for path in _bundled_paths() if path.name not in TRUNCATED)
    return tuple(file for file in found if file)


@cache
def refused_files() -> tuple[Path, ...]:
    """Every DICOM file of pydicom's that lacks one of the four UIDs, DICOMDIRs among them."""
    return tuple(path for path in _bundled_paths() if _named(path) is None)


@cache
def truncated_files() -> tuple[BundledFile, ...]:
    """The files of pydicom's that end inside an element."""
    found = (_named(path) for path in _bundled_paths() if path.name in TRUNCATED)
    return tuple(file for file in found if file)


def generations(files: Iterable[BundledFile]) -> list[list[BundledFile]]:
    """The files in groups that have each SOP instance UID once: several bundled files share theirs."""
    groups: list[dict[str, BundledFile]] = []
    for each in files:
        for group in groups:
            if each.sop_instance_uid not in group:
                group[each.sop_instance_uid] = each
                break
        else:
            groups.append({each.sop_instance_uid: each})
    return [list(group.values()) for group in groups]


def _bundled_paths() -> list[Path]:
    paths = sorted({Path(name) for name in get_testdata_files()})
    return [path for path in paths if path.is_file() and _is_part10(path)]


def _is_part10(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _named(path: Path) -> BundledFile | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(path, stop_before_pixels=True)
        sop_class, instance, study, series = (str(data.get(keyword) or "") for keyword in UIDS)
    if not (sop_class and instance and study and series):
        return None
    return BundledFile(path, sop_class, instance, study, series, str(data.file_meta.TransferSyntaxUID))


@dataclass
class Node(Dicomwire):
    """`dicomwire serve` in a folder of its own, with what the tests ask it."""

    flags: tuple[str, ...] = ()
    data_folder: Path | None = None  # in `folder` without it
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.data_folder or super().data

    def options(self) -> Sequence[str]:
        return self.flags

    def environment(self) -> dict[str, str]:
        return self.variables

    @property
    def log(self) -> str:
        """What it has said so far."""
        return (self.folder.parent / f"{self.folder.name}.log").read_text(errors="replace")

    def get(self, path: str, accept: str = "application/dicom+json") -> Answer:
        """The answer to a GET under the DICOMweb service."""
        return _request(urllib.request.Request(self.url(path), headers={"Accept": accept}))

    def stow(self, part10_files: Iterable[bytes], path: str = "/studies") -> Answer:
        """The answer to a STOW-RS of whole Part 10 files (PS3.18 10.5)."""
        boundary = "part-boundary-5f2e"
        parts = [
            b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % (boundary.encode(), part10)
            for part10 in part10_files
        ]
        body = b"".join(parts) + b"--%s--\r\n" % boundary.encode()
        content_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
        return self.post(path, content_type, body)

    def post(self, path: str, content_type: str, body: bytes) -> Answer:
        """The answer to a POST under the DICOMweb service."""
        headers = {"Content-Type": content_type, "Accept": "application/dicom+json"}
        return _request(urllib.request.Request(self.url(path), body, headers, method="POST"))

    def instances(self) -> dict[str, Row]:
        """Every instance that QIDO-RS finds, by SOP instance UID, without what names this server."""
        found: dict[str, Row] = {}
        while True:
            answer = self.get(f"/instances?includefield=all&limit=500&offset={len(found)}")
            if answer.status == 204:
                return found
            page = answer.json()
            for row in page:
                row.pop("00081190", None)  # Retrieve URL
                found[row["00080018"]["Value"][0]] = row
            if len(page) < 500:
                return found

    def retrieve(self, file: BundledFile) -> bytes:
        """The Part 10 file that WADO-RS gives for the instance, in the transfer syntax it is stored in."""
        parts = self.get(file.resource, AS_STORED).parts()
        assert len(parts) == 1
        return parts[0]

    def c_store(self, file: BundledFile) -> int:
        """The status of a C-STORE of the file's data set, byte for byte as it lies there."""
        return self.c_store_bytes(file, file.data_set)[0]

    def c_store_bytes(self, file: BundledFile, data_set: bytes) -> tuple[int, str]:
        """The status and error comment of a C-STORE of any bytes under the file's identity."""
        association = wire.associate(
            self.dimse_port,
            called_ae_title=self.ae_title,
            abstract_syntax=file.sop_class_uid,
            transfer_syntax=file.transfer_syntax_uid,
        )
        message = wire.store(
            association.fragment,
            message_id=1,
            sop_class_uid=file.sop_class_uid,
            sop_instance_uid=file.sop_instance_uid,
            data=[memoryview(data_set)],
        )
        for piece in message:
            association.socket.sendall(piece)
        response = association.receive_response()
        association.release()
        return response

    @property
    def address(self) -> str:
        """Where its DIMSE door is, as the command line takes it."""
        return f"{self.ae_title}@127.0.0.1:{self.dimse_port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer of any status."""

    status: int
    content_type: str
    body: bytes

    def json(self) -> list[Row]:
        """The body as an array of DICOM JSON objects."""
        assert self.status in (200, 202, 409), (self.status, self.body[:500])
        found = json.loads(self.body)
        return found if isinstance(found, list) else [found]

    def parts(self) -> list[bytes]:
        """The bodies of a multipart/related answer."""
        assert self.status in (200, 206), (self.status, self.body[:500])
        boundary = re.search(r'boundary="?([^";]+)', self.content_type)
        assert boundary, self.content_type
        pieces = (b"\r\n" + self.body).split(b"\r\n--" + boundary[1].encode())
        assert pieces[-1].strip() == b"--", "the multipart body has no end"
        return [piece.partition(b"\r\n\r\n")[2] for piece in pieces[1:-1]]


def _request(request: urllib.request.Request) -> Answer:
    try:
        with urllib.request.urlopen(request, timeout=COMMAND_TIMEOUT) as answer:
            return Answer(answer.status, answer.headers.get("Content-Type", ""), answer.read())
    except urllib.error.HTTPError as answer:
        with answer:
            return Answer(answer.code, answer.headers.get("Content-Type", ""), answer.read())


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A finished command: DCMTK's by its name, ours as `dicomwire`."""
    command = [Dicomwire.program() if program == "dicomwire" else system_program(program) or program]
    command += [str(each) for each in arguments]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=COMMAND_TIMEOUT, check=False
    )


def read(part10: bytes | Path) -> pydicom.Dataset:
    """A Part 10 file as pydicom reads it, warnings about old test files aside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = part10 if isinstance(part10, Path) else io.BytesIO(part10)
        return pydicom.dcmread(source, force=True)


def differences(expected: pydicom.Dataset, found: pydicom.Dataset) -> list[str]:
    """Where two data sets differ in values; group lengths and padding have none (PS3.5 7.2, PS3.10 7.2)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _differences(expected, found, "")


def _differences(expected: pydicom.Dataset, found: pydicom.Dataset, path: str) -> list[str]:
    different = []
    for tag in sorted({*expected.keys(), *found.keys()}):
        if tag.element == 0 or tag == 0xFFFCFFFC:
            continue
        where = f"{path}{tag}"
        if tag not in expected or tag not in found:
            different.append(f"{where} only in one")
            continue
        ours, theirs = expected[tag], found[tag]
        if ours.VR == "SQ" and theirs.VR == "SQ":
            if len(ours.value) != len(theirs.value):
                different.append(f"{where} {len(ours.value)} items, {len(theirs.value)} found")
            for number, pair in enumerate(zip(ours.value, theirs.value, strict=False)):
                different += _differences(*pair, f"{where}[{number}]")
        elif (_words(expected, tag) or None) != (_words(found, tag) or None):
            different.append(
                f"{where} {ours.VR} {str(ours.value)[:60]!r}, {theirs.VR} {str(theirs.value)[:60]!r}"
            )
    return different


def _words(data: pydicom.Dataset, tag: pydicom.tag.BaseTag) -> object:
    """An element's value; OW, which pydicom keeps in the file's byte order (PS3.5 7.3), as little endian."""
    element = data[tag]
    big_endian = data.original_encoding[1] is False
    if element.VR != "OW" or not big_endian or not isinstance(element.value, bytes):
        return element.value
    size = 4 if data.get("BitsAllocated") == 32 else 2
    return b"".join(element.value[at : at + size][::-1] for at in range(0, len(element.value), size))
