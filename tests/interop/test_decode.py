"""What `decode` reads, field by field against tshark's dissector."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomwire.diagnose.decode import decode
from dicomwire.diagnose.elements import Record
from tests.diagnose.scenarios import BESIDE, SCENARIOS

# tshark's field, and how to find the same numbers in a PDU's record
FIELDS = ("type", "len", "pdv.len", "pdv.ctx", "pdv.flags", "pctx.id", "pctx.result", "max_pdu_len")
FIELDS += ("reject.result", "reject.source", "reject.reason", "abort.source", "abort.reason", "item.len")
FIELDS += (
    "asyncneg.maxnumopsinv",
    "asyncneg.maxnumopsper",
    "user_identify.type",
    "tag",
    "tag.vl",
    "tag.value.16u",
)
NAMES = {
    "type": "dicom.pdu.type",
    "len": "dicom.pdu.len",
    "reject.result": "dicom.assoc.reject.result",
    "reject.source": "dicom.assoc.reject.source",
    "reject.reason": "dicom.assoc.reject.reason",
    "abort.source": "dicom.assoc.abort.source",
    "abort.reason": "dicom.assoc.abort.reason",
    "item.len": "dicom.assoc.item.len",
    "asyncneg.maxnumopsinv": "dicom.userinfo.asyncneg.maxnumopsinv",
    "asyncneg.maxnumopsper": "dicom.userinfo.asyncneg.maxnumopsper",
    "user_identify.type": "dicom.userinfo.user_identify.type",
}
CODES = (
    *("reject-called-ae-title", "abort-by-acceptor", "context-transfer-syntax", "reject-user-identity"),
    *("status-out-of-resources", "status-coercion", "find-level-missing", "move-partial", "mpps-final"),
    *("cancelled", "worklist-no-match", "release-collision", "commitment-report-undelivered"),
)

PORTS = ("-d", "tcp.port==11112,dicom", "-d", "tcp.port==104,dicom")

Numbers = dict[int, dict[str, list[int]]]


def tshark(file: Path) -> Numbers:
    """Numbers of each frame, by field."""
    tool = shutil.which("tshark")
    if tool is None:
        if os.environ.get("CI") == "true":
            pytest.fail("missing tshark")
        pytest.skip("missing tshark")
    command = [tool, "-r", str(file), *PORTS, "-Y", "dicom", "-T", "fields"]
    command += ["-o", "dicom.tag_tree:TRUE", "-o", "dicom.seq_tree:TRUE", "-e", "frame.number"]
    for name in FIELDS:
        command += ["-e", NAMES.get(name, f"dicom.{name}")]
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
    yield "type", number(pdu, "type")
    yield "len", number(pdu, "length")
    if pdu["type"] == 3:
        yield from ((f"reject.{key}", number(pdu, key)) for key in ("result", "source", "reason"))
    if pdu["type"] == 7:
        yield from ((f"abort.{key}", number(pdu, key)) for key in ("source", "reason"))
    for item in nested(pdu, "items"):
        yield "item.len", number(item, "length")
        keys = {"id": "pctx.id", "result": "pctx.result", "maximum_length": "max_pdu_len"}
        keys |= {"invoked": "asyncneg.maxnumopsinv", "performed": "asyncneg.maxnumopsper"}
        keys |= {"identity_type": "user_identify.type"}
        yield from ((name, number(item, key)) for key, name in keys.items() if key in item)
    for value in nested(pdu, "values"):
        yield "pdv.len", number(value, "length")
        yield "pdv.ctx", number(value, "context")
        yield "pdv.flags", number(value, "control")
    for element in nested(pdu, "elements"):
        tag = int(str(element["tag"]), 16)
        if tag >> 16 == 0xFFFE:
            continue
        yield "tag", tag
        yield "tag.vl", number(element, "length")
        single = isinstance(element.get("value"), int)
        if single and (element.get("vr") == "US" or ("vr" not in element and number(element, "length") == 2)):
            yield "tag.value.16u", number(element, "value")


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


@pytest.mark.parametrize("code", CODES)
def test_every_number_that_both_know_is_the_same(code: str, tmp_path: Path) -> None:
    file = tmp_path / "test.pcap"
    file.write_bytes((SCENARIOS | BESIDE)[code]().pcap())
    found = ours(file)
    compared: set[str] = set()
    for frame, theirs in tshark(file).items():
        for name in FIELDS:
            numbers = [one for one in theirs[name] if name != "tag" or one >> 16 != 0xFFFE]
            if numbers:
                assert found[frame][name] == numbers, (frame, name)
                compared.add(name)
    assert {"type", "len", "item.len", "pctx.id", "max_pdu_len"} <= compared
    if not code.startswith(("reject", "context")):
        assert {"pdv.len", "pdv.ctx", "pdv.flags", "tag", "tag.vl", "tag.value.16u"} <= compared
