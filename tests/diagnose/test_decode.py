from __future__ import annotations

import struct

from dicomwire.diagnose.decode import decode
from dicomwire.diagnose.elements import Record
from dicomwire.dimse.command import CStoreRq, CStoreRsp
from tests.diagnose.scenarios import CT, ILE, JPEG, associated, instance, release
from tests.diagnose.wire import Wire, element, message


def decoded(wire: Wire) -> list[Record]:
    return list(decode([wire.pcap()]))


def tags(record: Record) -> list[str]:
    values = record["values"]
    assert isinstance(values, list)
    return [str(one["tag"]) for value in values for one in value.get("elements", ())]


def test_a_late_start_is_decoded_from_the_next_pdu_on() -> None:
    wire = Wire()
    talk = associated(wire, (1, CT, (ILE,)))
    sent = message(CStoreRq(1, CT, "1.2.3"), instance(rows=200))
    talk.ask(sent[:30_000])
    wire.frames.clear()
    talk.ask(sent[30_000:]).answer(message(CStoreRsp(1, 0)))
    release(talk)
    names = [record["name"] for record in decoded(wire)]
    assert names[-3:] == ["P-DATA-TF", "A-RELEASE-RQ", "A-RELEASE-RP"]
    assert not [record for record in decoded(wire) if "fault" in record]


def test_decoding_goes_on_behind_a_gap() -> None:
    wire = Wire()
    talk = associated(wire, (1, CT, (ILE,)))
    talk.send(0, message(CStoreRq(1, CT, "1.2.3"), instance()), lost=True)
    talk.answer(message(CStoreRsp(1, 0)))
    release(talk)
    records = decoded(wire)
    gap, last = [record["name"] for record in records].index("gap"), records[-2]
    assert records[gap]["sender"] == "requestor"
    assert (last["name"], last["sender"], "fault" in last) == ("A-RELEASE-RQ", "requestor", False)


def test_the_rest_of_a_data_set_behind_a_gap_is_not_taken_for_a_whole_one() -> None:
    wire = Wire()
    talk = associated(wire, (1, CT, (ILE,)))
    sent = message(CStoreRq(1, CT, "1.2.3"), instance(rows=200))
    talk.send(0, sent[:10_000], lost=True).ask(sent[10_000:]).answer(message(CStoreRsp(1, 0)))
    release(talk)
    assert not [
        tag for record in decoded(wire) if "values" in record for tag in tags(record)[:1] if tag[0] == "7"
    ]


def test_fragments_and_delimitation_items_are_shown_where_they_stand() -> None:
    wire = Wire()
    talk = associated(wire, (1, CT, (JPEG,)))
    fragments = b"".join(
        struct.pack("<HHI", 0xFFFE, number, len(data)) + data
        for number, data in ((0xE000, b""), (0xE000, b"\xff\xd8\xff\xd9"), (0xE0DD, b""))
    )
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    sequence += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + element(0x00080018, "1.2 ", vr="UI")
    sequence += struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + fragments
    talk.ask(message(CStoreRq(1, CT, "1.2.3"), sequence + pixels)).answer(message(CStoreRsp(1, 0)))
    found = next(record for record in decoded(wire) if "values" in record and "00081140" in tags(record))
    assert tags(found) == [
        *("00081140", "FFFEE000", "00080018", "FFFEE00D", "FFFEE0DD"),
        *("7FE00010", "FFFEE000", "FFFEE000", "FFFEE0DD"),
    ]
    values = found["values"]
    assert isinstance(values, list)
    elements = values[0]["elements"]
    start = elements[0]["offset"]
    assert [one["offset"] - start for one in elements] == [0, 12, 20, 32, 40, 48, 60, 68, 80]
