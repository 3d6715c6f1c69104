"""Gateways with Orthanc and DCMTK's archive behind them, asked by dicomweb-client and DCMTK's programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from dicomweb_client import DICOMwebClient
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from benchmarks.receivers import QRSCP, DcmQRSCP, Orthanc, Receiver, free_port
from tests.interop.conftest import BitPreservingStoreSCP, require
from tests.interop.support import (
    EXPLICIT_LE,
    Node,
    bundled_files,
    differences,
    generations,
    read,
    run,
)

Serve = Callable[[str, int], Node]

PLAIN = [
    each
    for each in generations(bundled_files())[0]
    if each.transfer_syntax_uid == EXPLICIT_LE and each.sop_class_uid.endswith((".1.2", ".1.4"))
]
STUDIES = sorted({each.study_instance_uid for each in PLAIN})


@dataclass
class AbortingStoreSCP(BitPreservingStoreSCP):
    """DCMTK's storescp that aborts the association where it should answer."""

    def command(self) -> list[str]:
        """As its own, and it aborts."""
        program, *options = super().command()
        return [program, "--abort-after", *options]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a node with this configuration."""
    require(Node)
    with ExitStack() as stack:

        def start(configuration: str, dimse_port: int) -> Node:
            file = tmp_path / "gateway.toml"
            file.write_text(configuration)
            node = Node(tmp_path / "gateway", flags=("--config", str(file)), dimse_port=dimse_port)
            stack.callback(node.stop)
            node.start()
            return node

        yield start


@contextmanager
def in_front(serve: Serve, peer: Receiver) -> Iterator[Node]:
    """A node whose gateway is in front of an archive that is started for it."""
    peer.start()
    try:
        entry = f'[[gateways]]\nname = "pacs"\npeer = "{peer.ae_title}"\n'
        yield serve(_peer(peer.ae_title, peer.dimse_port) + entry, free_port())
    finally:
        peer.stop()


def _peer(title: str, port: int) -> str:
    return f'[[peers]]\nae_title = "{title}"\nhost = "127.0.0.1"\nport = {port}\n'


def _uid(rows: list[dict[str, dict[str, list[str]]]], tag: str) -> list[str]:
    return sorted(row[tag]["Value"][0] for row in rows)


@pytest.mark.parametrize(("kind", "retrieve"), [(Orthanc, "get"), (Orthanc, "move"), (DcmQRSCP, "move")])
def test_dicomweb_client_uses_a_dimse_archive(
    serve: Serve, tmp_path: Path, kind: type[Receiver], retrieve: str
) -> None:
    require(kind)
    port = free_port()
    peer = kind(tmp_path / "peer", destinations={"DICOMWIRE": port, "CACHE": port})
    peer.start()
    try:
        gateway = serve(
            _peer(peer.ae_title, peer.dimse_port)
            + f'[[gateways]]\nname = "pacs"\npeer = "{peer.ae_title}"\nretrieve = "{retrieve}"\n'
            + ('ae_title = "CACHE"\n' if retrieve == "move" else ""),
            port,
        )
        answer = gateway.stow((each.path.read_bytes() for each in PLAIN), "/gateways/pacs/studies")
        assert answer.status == 200, answer.body[:1000]
        assert peer.count() == len(PLAIN)
        client = DICOMwebClient(gateway.url("/gateways/pacs"))
        assert _uid(client.search_for_studies(), "0020000D") == STUDIES
        for study in STUDIES:
            files = {each.sop_instance_uid: each for each in PLAIN if each.study_instance_uid == study}
            series = {each.series_instance_uid for each in files.values()}
            assert _uid(client.search_for_series(study), "0020000E") == sorted(series)
            assert _uid(client.search_for_instances(study), "00080018") == sorted(files)
            assert len(client.retrieve_study_metadata(study)) == len(files)
            for found in client.retrieve_study(study):
                assert differences(read(files[found.SOPInstanceUID].path), found) == []
        assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
        assert gateway.get("/gateways/pacs/studies/1.2.999/metadata").status == 404
        assert gateway.get("/studies").status == 204, "the node's own archive is another one"
    finally:
        peer.stop()
    for gone in (
        gateway.get("/gateways/pacs/studies"),
        gateway.stow([PLAIN[0].path.read_bytes()], "/gateways/pacs/studies"),
    ):
        assert gone.status == 502
        # a child of dcmqrscp may outlive it for a moment, and with it the port
        assert any(words in gone.body for words in (b"unreachable", b"closed the connection"))


def test_an_archive_that_aborts_whatever_is_stored_is_a_bad_gateway(serve: Serve, tmp_path: Path) -> None:
    require(AbortingStoreSCP)
    peer = AbortingStoreSCP(tmp_path / "peer")
    with in_front(serve, peer) as gateway:
        answer = gateway.stow((each.path.read_bytes() for each in PLAIN), "/gateways/pacs/studies")
    assert answer.status == 502
    assert f"{peer.ae_title}, C-STORE: association ended: ".encode() in answer.body


def test_an_archive_that_answers_for_each_instance_is_heard_once(serve: Serve, tmp_path: Path) -> None:
    """Of one study pynetdicom's qrscp answers C-FIND at study and series level once for each instance."""
    require(QRSCP)
    study = max(STUDIES, key=[each.study_instance_uid for each in PLAIN].count)
    files = [each for each in PLAIN if each.study_instance_uid == study][:3]
    peer = QRSCP(tmp_path / "peer")
    with in_front(serve, peer) as gateway:
        answer = gateway.stow((each.path.read_bytes() for each in files), "/gateways/pacs/studies")
        assert answer.status == 200, answer.body[:1000]
        client = DICOMwebClient(gateway.url("/gateways/pacs"))
        assert _uid(client.search_for_studies(), "0020000D") == [study]
        series = sorted({each.series_instance_uid for each in files})
        assert _uid(client.search_for_series(study), "0020000E") == series
        uids = sorted(each.sop_instance_uid for each in files)
        assert _uid(client.search_for_instances(study), "00080018") == uids
        assert len(client.search_for_instances(study, limit=2)) == 2


def test_a_key_that_an_archive_ignores_is_told(serve: Serve, tmp_path: Path) -> None:
    """dcmqrscp does not know Modalities in Study and finds every study, as if the key were empty."""
    require(DcmQRSCP)
    with in_front(serve, DcmQRSCP(tmp_path / "peer")) as gateway:
        assert gateway.stow([PLAIN[0].path.read_bytes()], "/gateways/pacs/studies").status == 200
        url = gateway.url("/gateways/pacs/studies")
        found = httpx.get(url, params={"ModalitiesInStudy": "XA", "PatientID": "*"})
        assert "ModalitiesInStudy is empty in answers" in found.headers["warning"]
        known = httpx.get(url, params={"StudyInstanceUID": PLAIN[0].study_instance_uid})
        assert (known.status_code, known.headers.get("warning")) == (200, None)


def test_an_archive_that_ends_early_and_calls_it_success_is_not_believed(serve: Serve) -> None:
    """Its C-FIND counts three instances and its pending answers promise three; two come."""
    instances = [read(each.path) for each in PLAIN[:3]]

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        answer = Dataset()
        answer.QueryRetrieveLevel, answer.StudyInstanceUID = "STUDY", "1.2.3"
        answer.NumberOfStudyRelatedInstances = len(instances)
        yield 0xFF00, answer

    def get(event: evt.Event) -> Iterator[int | tuple[int, Dataset]]:
        yield len(instances)
        for number, instance in enumerate(instances[:2]):
            instance.StudyInstanceUID, instance.SOPInstanceUID = "1.2.3", f"1.2.3.{number}"
            yield 0xFF00, instance

    archive = AE("EARLY")
    archive.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    archive.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    for uid in {instance.SOPClassUID for instance in instances}:
        archive.add_supported_context(uid, EXPLICIT_LE, scu_role=True, scp_role=True)
    handlers = [(evt.EVT_C_FIND, find), (evt.EVT_C_GET, get)]
    server = archive.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        configuration = (
            _peer("EARLY", server.server_address[1]) + '[[gateways]]\nname = "pacs"\npeer = "EARLY"\n'
        )
        answer = serve(configuration, free_port()).get("/gateways/pacs/studies/1.2.3")
        assert answer.status == 502
        assert b"only 2 of 3 instances" in answer.body
    finally:
        server.shutdown()


def _keys(**keys: str) -> list[str]:
    return [word for key, value in keys.items() for word in ("-k", f"{key}={value}")]


@pytest.mark.usefixtures("dcmtk")
def test_dcmtks_programs_use_orthancs_dicomweb(
    serve: Serve, orthanc: Orthanc, storescp: BitPreservingStoreSCP, tmp_path: Path
) -> None:
    gateway = serve(
        _peer("STORESCP", storescp.dimse_port)
        + f'[[gateways]]\nname = "cloud"\nurl = "{orthanc.url("")}"\nae_title = "CLOUD"\n',
        free_port(),
    )
    place = ("-aec", "CLOUD", "127.0.0.1", str(gateway.dimse_port))
    assert run("echoscu", *place).returncode == 0
    sent = run("storescu", "-v", "-R", *place, *(each.path for each in PLAIN))
    assert sent.stderr.count("Success") + sent.stdout.count("Success") == len(PLAIN), sent.stderr[-2000:]
    assert orthanc.count() == len(PLAIN)

    asked = _keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="", PatientName="")
    found = run("findscu", "-v", "-S", *place, *asked)
    said = found.stdout + found.stderr
    assert all(study in said for study in STUDIES), said[-2000:]
    name = read(PLAIN[0].path).PatientName
    for key in (f"{name.family_name}^*", str(name)):
        asked = _keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="", PatientName=key)
        found = run("findscu", "-v", "-S", *place, *asked)
        assert PLAIN[0].study_instance_uid in found.stdout + found.stderr, key

    got = tmp_path / "got"
    got.mkdir()
    for study in STUDIES:
        keys = _keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=study)
        done = run("getscu", "-v", "-S", "+B", "-od", str(got), *place, *keys)
        assert "Success" in done.stdout + done.stderr, done.stderr[-2000:]
        done = run("movescu", "-v", "-S", "-aem", "STORESCP", *place, *keys)
        assert "Success" in done.stdout + done.stderr, done.stderr[-2000:]
    received = {str(read(path).SOPInstanceUID): path.read_bytes() for path in got.iterdir()}
    for files in (received, storescp.received()):
        assert set(files) == {each.sop_instance_uid for each in PLAIN}
        for each in PLAIN:
            assert differences(read(each.path), read(files[each.sop_instance_uid])) == [], each.path.name
