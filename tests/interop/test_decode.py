"""What `decode` reads, field by field against tshark's dissector."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from pynetdicom import build_role
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.sop_class import CTImageStorage, Verification

from benchmarks.receivers import DcmQRSCP
from dicomwire.diagnose.decode import decode
from dicomwire.diagnose.elements import Record
from tests.diagnose.scenarios import BESIDE, SCENARIOS
from tests.diagnose.test_packets import LINKS, pcapng, relinked
from tests.diagnose.wire import Wire
from tests.interop.recording import recorded, require_recording
from tests.interop.scenes.dimse import STUDY_FIND
from tests.interop.scenes.stage import LOOPBACK, association, echoscu, raw_client, run, scp, storescp
from tests.interop.scenes.upper_layer import associate_rq

# tshark's field, and the key of the same number in a PDU's record or in one of its items
PDU_FIELDS = {
    "dicom.pdu.type": "type",
    "dicom.pdu.len": "length",
    "dicom.assoc.version": "protocol_version",
}
REASON_FIELDS = {
    3: {
        "dicom.assoc.reject.result": "result",
        "dicom.assoc.reject.source": "source",
        "dicom.assoc.reject.reason": "reason",
    },
    7: {"dicom.assoc.abort.source": "source", "dicom.assoc.abort.reason": "reason"},
}
ITEM_FIELDS = {
    "dicom.assoc.item.type": "type",
    "dicom.assoc.item.len": "length",
    "dicom.pctx.id": "id",
    "dicom.pctx.result": "result",
    "dicom.max_pdu_len": "maximum_length",
    "dicom.userinfo.asyncneg.maxnumopsinv": "invoked",
    "dicom.userinfo.asyncneg.maxnumopsper": "performed",
    "dicom.userinfo.rolesel.scurole": "scu_role",
    "dicom.userinfo.rolesel.scprole": "scp_role",
    "dicom.userinfo.extneg.relational": "relational",
    "dicom.userinfo.extneg.datetimematching": "date_time_matching",
    "dicom.userinfo.extneg.fuzzymatching": "fuzzy_matching",
    "dicom.userinfo.extneg.timezone": "timezone_adjustment",
    "dicom.userinfo.user_identify.type": "identity_type",
    "dicom.userinfo.user_identify.response_requested": "positive_response_requested",
    "dicom.userinfo.user_identify.primary_field_length": "primary_length",
    "dicom.userinfo.user_identify.secondary_field_length": "secondary_length",
}
UID_LENGTHS = {0x54: "dicom.userinfo.rolesel.sopclassuid.len", 0x56: "dicom.userinfo.extneg.sopclassuid.len"}
VALUE_FIELDS = {"dicom.pdv.len": "length", "dicom.pdv.ctx": "context", "dicom.pdv.flags": "control"}
NUMBER_FIELDS = {
    "US": "dicom.tag.value.16u",
    "SS": "dicom.tag.value.16s",
    "UL": "dicom.tag.value.32u",
    "SL": "dicom.tag.value.32s",
}
FIELDS = (
    *PDU_FIELDS,
    *REASON_FIELDS[3],
    *REASON_FIELDS[7],
    *ITEM_FIELDS,
    *UID_LENGTHS.values(),
    *VALUE_FIELDS,
    *("dicom.tag", "dicom.tag.vl"),
    *NUMBER_FIELDS.values(),
)
CODES = (
    *("reject-called-ae-title", "abort-by-acceptor", "context-transfer-syntax", "reject-user-identity"),
    *("status-out-of-resources", "status-coercion", "find-level-missing", "move-partial", "mpps-final"),
    *("cancelled", "worklist-no-match", "release-collision", "commitment-report-undelivered"),
)

PORTS = ("-d", "tcp.port==104-65535,dicom")

Numbers = dict[int, dict[str, list[int]]]


def tshark(file: Path) -> Numbers:
    """Numbers of each frame, by field."""
    tool = shutil.which("tshark")
    if tool is None:
        if os.environ.get("CI") == "true":
            pytest.fail("missing tshark")
        pytest.skip("missing tshark")
    command = [tool, "-n", "-r", str(file), *PORTS, "-Y", "dicom", "-T", "fields"]
    command += ["-o", "dicom.tag_tree:TRUE", "-o", "dicom.seq_tree:TRUE", "-e", "frame.number"]
    for name in FIELDS:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found: Numbers = {}
    for line in done.stdout.splitlines():
        frame, *columns = line.split("\t")
        numbers = {
            name: [int(number, 0) for number in column.split(",") if number]
            for name, column in zip(FIELDS, columns, strict=True)
        }
        found[int(frame)] = numbers
    return found


def ours(file: Path) -> Numbers:
    found: Numbers = defaultdict(lambda: {name: [] for name in FIELDS})
    for record in decode([file.read_bytes()]):
        for name, number in numbers_of(record):
            found[int(str(record["frame"]))][name].append(number)
    return found


def numbers_of(pdu: Record) -> Iterator[tuple[str, int]]:
    for name, key in (PDU_FIELDS | REASON_FIELDS.get(number(pdu, "type"), {})).items():
        if key in pdu:
            yield name, number(pdu, key)
    for item in nested(pdu, "items"):
        yield from ((name, number(item, key)) for name, key in ITEM_FIELDS.items() if key in item)
        if "uid_length" in item:
            yield UID_LENGTHS[number(item, "type")], number(item, "uid_length")
    for value in nested(pdu, "values"):
        yield from ((name, number(value, key)) for name, key in VALUE_FIELDS.items())
    for element in nested(pdu, "elements"):
        yield from element_numbers(element)


def element_numbers(element: Record) -> Iterator[tuple[str, int]]:
    length, value = number(element, "length"), element.get("value")
    yield "dicom.tag", int(str(element["tag"]), 16)
    yield "dicom.tag.vl", length
    vr = str(element.get("vr") or {2: "US", 4: "UL"}.get(length))
    first = value[0] if isinstance(value, list) else value  # tshark has only that as a number
    if isinstance(first, int) and vr in NUMBER_FIELDS:
        yield NUMBER_FIELDS[vr], first
    elif isinstance(first, str) and vr == "AT":
        yield NUMBER_FIELDS["UL"], int(first, 16)


def nested(record: Record, key: str) -> Iterator[Record]:
    """What lies under `key` at any depth, in the order of the bytes."""
    for name in ("items", "values", "elements"):
        inner = record.get(name)
        for one in inner if isinstance(inner, list) else ():
            if name == key:
                yield one
            yield from nested(one, key)


def number(record: Record, key: str) -> int:
    value = record[key]
    assert isinstance(value, int)
    return value


def check(file: Path) -> set[str]:
    """Holds each number of each frame against tshark's. Returns: the fields that were there."""
    found, dissected, compared = ours(file), tshark(file), set[str]()
    assert set(found) == {frame for frame, numbers in dissected.items() if numbers["dicom.pdu.type"]}
    for frame, theirs in dissected.items():
        for name in FIELDS:
            if theirs[name]:
                assert found[frame][name] == theirs[name], (frame, name)
                compared.add(name)
    return compared


@pytest.mark.parametrize("code", CODES)
def test_every_number_that_both_know_is_the_same(code: str, tmp_path: Path) -> None:
    file = tmp_path / "test.pcap"
    file.write_bytes((SCENARIOS | BESIDE)[code]().pcap())
    compared = check(file)
    assert {*PDU_FIELDS, "dicom.assoc.item.len", "dicom.pctx.id", "dicom.max_pdu_len"} <= compared
    if not code.startswith(("reject", "context")):
        assert {*VALUE_FIELDS, "dicom.tag", "dicom.tag.vl", "dicom.tag.value.16u"} <= compared


def _links() -> dict[str, Callable[[Wire], bytes]]:
    """A capture with each link layer that is known."""

    def linked(link_type: int, head: bytes, ethertype_at: int | None) -> Callable[[Wire], bytes]:
        return lambda wire: relinked(wire, head, ethertype_at).pcap(link_type=link_type)

    return {name: linked(*link) for name, link in LINKS.items()}


VARIANTS: dict[str, Callable[[Wire], bytes]] = {
    **_links(),
    "big endian": lambda wire: wire.pcap(order=">"),
    "nanoseconds": lambda wire: wire.pcap(nanoseconds=True),
    "gzip": lambda wire: gzip.compress(wire.pcap()),
    "pcapng": pcapng,
    "pcapng, big endian": lambda wire: pcapng(wire, order=">", resolution=9),
    "pcapng, gzip": lambda wire: gzip.compress(pcapng(wire)),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_capture_gives_the_same_numbers(variant: str, tmp_path: Path) -> None:
    file = tmp_path / "test.pcap"
    file.write_bytes(VARIANTS[variant](SCENARIOS["move-partial"]()))
    assert {*VALUE_FIELDS, "dicom.tag", "dicom.max_pdu_len"} <= check(file)


# Every kind of number, nested sequences, private elements, both byte orders. Nothing compressed: tshark takes
# what is in fragments for elements.
STORED = {
    "-xe": ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "reportsi.dcm", "rtdose.dcm", "waveform_ecg.dcm"),
    "-xi": ("MR_small_implicit.dcm", "rtstruct.dcm", "CT_small.dcm", "nested_priv_SQ.dcm"),
    "-xb": ("MR_small_bigendian.dcm", "ExplVR_BigEnd.dcm", "CT_small.dcm"),
}


@pytest.fixture(scope="module")
def real_traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_recording("storescu")
    folder = tmp_path_factory.mktemp("decode")
    file = folder / "lo.pcapng"
    with recorded(file, "lo", LOOPBACK, wanted=f"host {LOOPBACK}"), ExitStack() as stack:
        _store(stack, folder)
        _query_and_move(stack, folder)
        _negotiate(stack)
    return file


def _store(stack: ExitStack, folder: Path) -> None:
    port = storescp(stack, folder, "+xa", "--promiscuous", "--max-pdu", "32768")
    for syntax, names in STORED.items():
        files = [str(get_testdata_file(name)) for name in names]
        run("storescu", "-R", syntax, "-pdu", "8192", LOOPBACK, str(port), *files)
    echoscu(port, "--abort")
    raw_client(port, associate_rq(name="1.2.3"))


def _query_and_move(stack: ExitStack, folder: Path) -> None:
    archive = DcmQRSCP(folder / "dcmqrscp", destinations={"WS": storescp(stack, folder, "+xa")})
    archive.start()
    stack.callback(archive.stop)
    where = ("-aec", archive.ae_title, LOOPBACK, str(archive.dimse_port))
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", "-k", "PatientName")
    run("storescu", *where, str(get_testdata_file("CT_small.dcm")))
    run("findscu", "-S", *keys, *where)
    run("movescu", "-S", "-aem", "WS", "-k", "QueryRetrieveLevel=STUDY", *where)
    run("getscu", "-S", "-od", str(folder), "-k", "QueryRetrieveLevel=STUDY", *where)
    run("findscu", "-S", "-aec", "NOBODY", *keys, LOOPBACK, str(archive.dimse_port))


def _negotiate(stack: ExitStack) -> None:
    """Every user item that tshark knows."""
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked, window.maximum_number_operations_performed = 3, 2
    query = SOPClassExtendedNegotiation()
    query.sop_class_uid, query.service_class_application_information = STUDY_FIND, b"\1\0\1\1"
    login = UserIdentityNegotiation()
    login.user_identity_type, login.positive_response_requested = 2, True
    login.primary_field, login.secondary_field = b"joe", b"secret"
    items = [window, query, login, build_role(CTImageStorage, scu_role=True, scp_role=True)]
    port = scp(stack, STUDY_FIND, CTImageStorage)
    with association(port, Verification, STUDY_FIND, CTImageStorage, ext_neg=items) as found:
        found.send_c_echo()


def test_traffic_of_real_peers_is_read_as_tshark_reads_it(real_traffic: Path) -> None:
    assert check(real_traffic) == set(FIELDS)
