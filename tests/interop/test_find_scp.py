"""C-FIND from this node, asked by findscu, pynetdicom and Orthanc; DCMTK's archive answers the same."""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
)

from benchmarks.receivers import DcmQRSCP, Orthanc, Receiver, system_program
from tests.interop.conftest import Peer, require
from tests.interop.support import EXPLICIT_LE, Node, bundled_files, generations, run

FILES = [
    each
    for each in generations(bundled_files())[0]
    if each.transfer_syntax_uid == EXPLICIT_LE and each.sop_class_uid.endswith((".1.2", ".1.4"))
]
UIDS = re.compile(r"\(0020,000d\) UI \[([0-9.]+) ?\]")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node for all, for nothing here changes it."""
    yield from _filled(Node, tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DcmQRSCP]:
    """DCMTK's archive with the same instances."""
    yield from _filled(DcmQRSCP, tmp_path_factory.mktemp("dcmqrscp"))


def _filled(peer: type[Peer], folder: Path) -> Iterator[Peer]:
    require(peer)
    started = peer(folder / "data")
    started.start()
    try:
        address = f"{started.ae_title}@127.0.0.1:{started.dimse_port}"
        sent = run("dicomwire", "send", address, *(each.path for each in FILES))
        assert sent.returncode == 0, sent.stdout + sent.stderr
        yield started
    finally:
        started.stop()


def findscu(receiver: Receiver, *words: str) -> tuple[set[str], str]:
    """Study Instance UIDs in the answers, and all that findscu said."""
    program = system_program("findscu")
    assert program is not None
    address = ("-aec", receiver.ae_title, "127.0.0.1", str(receiver.dimse_port))
    asked = [word for key in words if "=" in key or key.startswith("(") for word in ("-k", key)]
    options = [key for key in words if "=" not in key and not key.startswith("(")]
    done = run(program, "-v", *options, *address, *asked)
    said = done.stdout + done.stderr
    answers = said.partition("Find Response: 1")[2]
    return set(UIDS.findall(answers)), said


@pytest.mark.usefixtures("dcmtk")
@pytest.mark.parametrize(
    "keys",
    [
        ("PatientName=",),
        ("PatientName=CompressedSamples*",),
        ("PatientName=*^CT1",),
        ("PatientID=?CT1",),
        ("StudyDate=20040101-20041231",),
        ("StudyDate=-20040201",),
        ("StudyTime=070000-080000",),
        ("PatientID=nobody",),
        ("AccessionNumber=", "StudyID=1CT1"),
    ],
)
def test_findscu_finds_what_it_finds_in_dcmqrscp(
    filled: Node, archive: DcmQRSCP, keys: tuple[str, ...]
) -> None:
    asked = ("-S", "QueryRetrieveLevel=STUDY", "StudyInstanceUID=", *keys)
    ours, said = findscu(filled, *asked)
    theirs, _ = findscu(archive, *asked)
    assert ours == theirs
    assert "Final Find Response (Success)" in said


@pytest.mark.usefixtures("dcmtk")
def test_findscu_is_told_which_key_is_missing(filled: Node) -> None:
    found, said = findscu(filled, "-P", "QueryRetrieveLevel=STUDY", "StudyInstanceUID=")
    assert found == set()
    assert "DataSetDoesNotMatchSOPClass" in said
    assert "PatientID (0010,0020) is missing" in filled.log


@pytest.mark.usefixtures("dcmtk")
def test_findscu_cancels_and_is_answered_with_cancel(filled: Node) -> None:
    _, said = findscu(filled, "-S", "--cancel", "1", "QueryRetrieveLevel=STUDY", "StudyInstanceUID=")
    assert "Final Find Response" in said


def pynetdicom_finds(node: Node, model: str, information: bytes = b"", **keys: str) -> list[Dataset]:
    entity = AE()
    entity.add_requested_context(model)
    extended = SOPClassExtendedNegotiation()
    extended.sop_class_uid = model
    extended.service_class_application_information = information
    association = entity.associate(
        "127.0.0.1",
        node.dimse_port,
        ae_title=node.ae_title,
        ext_neg=[extended] if information else [],
    )
    assert association.is_established
    identifier = Dataset()
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    found = []
    try:
        for status, answer in association.send_c_find(identifier, model):
            assert status.Status in (0xFF00, 0xFF01, 0x0000), status
            if answer is not None:
                found.append(answer)
    finally:
        association.release()
    return found


def test_pynetdicom_finds_at_every_level(filled: Node) -> None:
    held = [dcmread(each.path, stop_before_pixels=True) for each in FILES]
    one = held[0]
    patients = pynetdicom_finds(
        filled, PatientRootQueryRetrieveInformationModelFind, QueryRetrieveLevel="PATIENT", PatientID=""
    )
    assert {each.PatientID for each in patients} == {str(each.get("PatientID", "")) for each in held}
    above = {"PatientID": one.PatientID, "StudyInstanceUID": one.StudyInstanceUID}
    series = pynetdicom_finds(
        filled,
        PatientRootQueryRetrieveInformationModelFind,
        QueryRetrieveLevel="SERIES",
        Modality="",
        SeriesInstanceUID="",
        **above,
    )
    assert one.SeriesInstanceUID in {each.SeriesInstanceUID for each in series}
    images = pynetdicom_finds(
        filled,
        StudyRootQueryRetrieveInformationModelFind,
        QueryRetrieveLevel="IMAGE",
        StudyInstanceUID=one.StudyInstanceUID,
        SeriesInstanceUID=one.SeriesInstanceUID,
        SOPInstanceUID="",
        ImageType="",
    )
    assert {each.SOPInstanceUID for each in images} == {
        each.SOPInstanceUID for each in held if each.SeriesInstanceUID == one.SeriesInstanceUID
    }


def test_pynetdicom_negotiates_fuzzy_and_relational_matching(filled: Node) -> None:
    keys = {"QueryRetrieveLevel": "SERIES", "PatientName": "ct1 compresed", "SeriesInstanceUID": ""}
    model = StudyRootQueryRetrieveInformationModelFind
    found = pynetdicom_finds(filled, model, b"\1\0\1", **keys)
    assert found
    assert {str(each.PatientName) for each in found} == {"CompressedSamples^CT1"}


def test_pynetdicoms_findscu_reads_the_answers(filled: Node) -> None:
    words = ["-k", "QueryRetrieveLevel=STUDY", "-k", "PatientName=*", "-k", "StudyInstanceUID="]
    address = ["127.0.0.1", str(filled.dimse_port), "-aec", filled.ae_title]
    done = run(sys.executable, "-m", "pynetdicom", "findscu", *address, "-S", *words)
    said = done.stdout + done.stderr
    assert said.count("0xFF00 (Pending)") == len({dcmread(each.path).StudyInstanceUID for each in FILES})
    assert "0x0000 (Success)" in said


def test_orthanc_queries_the_node(filled: Node, orthanc: Orthanc) -> None:
    modality = {"AET": filled.ae_title, "Host": "127.0.0.1", "Port": filled.dimse_port}
    _sent(orthanc, "PUT", "/modalities/node", modality)
    asked = {"Level": "Study", "Query": {"PatientName": "CompressedSamples*", "StudyDate": ""}}
    query = _sent(orthanc, "POST", "/modalities/node/query", asked)
    answers = _sent(orthanc, "GET", f"{query['Path']}/answers?expand&simplify")
    held = [dcmread(each.path, stop_before_pixels=True) for each in FILES]
    expected = {
        each.StudyInstanceUID for each in held if str(each.get("PatientName", "")).startswith("Compressed")
    }
    assert {each["StudyInstanceUID"] for each in answers} == expected


def _sent(orthanc: Orthanc, method: str, path: str, body: object = None):  # type: ignore[no-untyped-def]
    url = f"http://127.0.0.1:{orthanc.http_port}{path}"
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=60) as answer:
        return json.loads(answer.read() or b"{}")
