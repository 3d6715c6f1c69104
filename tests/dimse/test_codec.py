"""Command sets: vectors in hex, every message against the standard's tables, properties."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomwire.dimse import codec
from dicomwire.dimse.codec import decode, encode
from dicomwire.dimse.command import (
    COMMANDS,
    CCancelRq,
    CEchoRq,
    CEchoRsp,
    CFindRsp,
    CMoveRq,
    CMoveRsp,
    Command,
    CStoreRq,
    CStoreRsp,
    NActionRq,
    NCreateRq,
    NGetRq,
    NGetRsp,
    Response,
    UnrecognizedRq,
    UnrecognizedRsp,
    response,
)
from dicomwire.errors import DecodeError, LocalProtocolError

# PS3.7 Tables 9.3-1 to 9.3-13 and 10.3-1 to 10.3-12: Command Field, whether a data set follows (M, C, U, -),
# and the elements but for group length, (0000,0100) and (0000,0800), which every message has.
STANDARD = """
C-STORE-RQ         0001 M 0002M 0110M 0700M 1000M 1030U 1031U
C-STORE-RSP        8001 - 0002U 0120M 0900M 1000U
C-FIND-RQ          0020 M 0002M 0110M 0700M
C-FIND-RSP         8020 C 0002U 0120M 0900M
C-GET-RQ           0010 M 0002M 0110M 0700M
C-GET-RSP          8010 U 0002U 0120M 0900M 1020C 1021C 1022C 1023C
C-MOVE-RQ          0021 M 0002M 0110M 0600M 0700M
C-MOVE-RSP         8021 U 0002U 0120M 0900M 1020C 1021C 1022C 1023C
C-ECHO-RQ          0030 - 0002M 0110M
C-ECHO-RSP         8030 - 0002U 0120M 0900M
N-EVENT-REPORT-RQ  0100 U 0002M 0110M 1000M 1002M
N-EVENT-REPORT-RSP 8100 C 0002U 0120M 0900M 1000U 1002C
N-GET-RQ           0110 - 0003M 0110M 1001M 1005U
N-GET-RSP          8110 C 0002U 0120M 0900M 1000U
N-SET-RQ           0120 M 0003M 0110M 1001M
N-SET-RSP          8120 U 0002U 0120M 0900M 1000U
N-ACTION-RQ        0130 U 0003M 0110M 1001M 1008M
N-ACTION-RSP       8130 C 0002U 0120M 0900M 1000U 1008C
N-CREATE-RQ        0140 U 0002M 0110M 1000U
N-CREATE-RSP       8140 U 0002U 0120M 0900M 1000C
N-DELETE-RQ        0150 - 0003M 0110M 1001M
N-DELETE-RSP       8150 - 0002U 0120M 0900M 1000U
C-CANCEL-RQ        0FFF - 0120M
"""
STATUS_ELEMENTS = {0x0901, 0x0902, 0x0903, 0x1005}  # PS3.7 C lets responses carry them
ROWS = [line.split() for line in STANDARD.strip().splitlines()]

ECHO_RQ = bytes.fromhex(
    "00000000 04000000 38000000"
    "00000200 12000000 312e322e3834302e31303030382e312e3100"  # 1.2.840.10008.1.1 and a NUL
    "00000001 02000000 3000"
    "00001001 02000000 0700"
    "00000008 02000000 0101"
)
ECHO_RSP = bytes.fromhex(
    "00000000 04000000 42000000"
    "00000200 12000000 312e322e3834302e31303030382e312e3100"
    "00000001 02000000 3080"
    "00002001 02000000 0700"
    "00000008 02000000 0101"
    "00000009 02000000 0000"
)
STORE_RQ = bytes.fromhex(
    "00000000 04000000 66000000"
    "00000200 0a000000 312e322e3834302e3100"
    "00000001 02000000 0100"
    "00001001 02000000 feff"
    "00000007 02000000 0100"
    "00000008 02000000 0100"
    "00000010 06000000 312e322e3334"
    "00003010 06000000 4f5249474e20"
    "00003110 02000000 0900"
)
STORE_RQ = STORE_RQ[:8] + (len(STORE_RQ) - 12).to_bytes(4, "little") + STORE_RQ[12:]
FIND_RSP = bytes.fromhex(
    "00000000 04000000 28000000"
    "00000001 02000000 2080"
    "00002001 02000000 0100"
    "00000008 02000000 0100"
    "00000009 02000000 00ff"
)
N_GET_RQ = bytes.fromhex(
    "00000000 04000000 42000000"
    "00000300 04000000 312e3200"
    "00000001 02000000 1001"
    "00001001 02000000 0500"
    "00000008 02000000 0101"
    "00000110 04000000 312e3300"
    "00000510 08000000 10001000 08001800"
)
N_GET_RQ = N_GET_RQ[:8] + (len(N_GET_RQ) - 12).to_bytes(4, "little") + N_GET_RQ[12:]

VECTORS: list[tuple[bytes, Command]] = [
    (ECHO_RQ, CEchoRq(7, "1.2.840.10008.1.1")),
    (ECHO_RSP, CEchoRsp(7, 0x0000, affected_sop_class_uid="1.2.840.10008.1.1")),
    (STORE_RQ, CStoreRq(0xFFFE, "1.2.840.1", "1.2.34", 1, "ORIGN", 9)),
    (FIND_RSP, CFindRsp(1, 0xFF00, data_set=True)),
    (N_GET_RQ, NGetRq(5, "1.2", "1.3", (0x00100010, 0x00080018))),
]


def element(number: int, value: bytes, group: int = 0) -> bytes:
    return (
        group.to_bytes(2, "little") + number.to_bytes(2, "little") + len(value).to_bytes(4, "little") + value
    )


def command_set(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return element(0x0000, len(body).to_bytes(4, "little")) + body


SOP_CLASS = element(0x0002, b"1.2.840.10008.1.1\0")
ECHO_FIELD = element(0x0100, b"\x30\x00")
MESSAGE_ID = element(0x0110, b"\x07\x00")
NO_DATA_SET = element(0x0800, b"\x01\x01")
PLAIN_ECHO = CEchoRq(7, "1.2.840.10008.1.1")


def violations_of(data: bytes, expected: Command) -> list[str]:
    decoded = decode(data)
    assert decoded.command == expected
    return [violation.message for violation in decoded.violations]


@pytest.mark.parametrize(("data", "expected"), VECTORS)
def test_vector_decodes_to_its_message_without_violations(data: bytes, expected: Command) -> None:
    assert decode(data) == (expected, ())


@pytest.mark.parametrize(("data", "expected"), VECTORS)
def test_message_encodes_to_its_vector(data: bytes, expected: Command) -> None:
    assert encode(expected) == data


@pytest.mark.parametrize(("data", "expected"), VECTORS)
def test_vector_cut_at_any_byte_is_a_decode_error_or_the_message_without_an_optional_end(
    data: bytes, expected: Command
) -> None:
    for length in range(len(data)):
        try:
            decoded = decode(data[:length])
        except DecodeError as error:
            offsets = [error.offset]
        else:
            assert type(decoded.command) is type(expected)
            assert decoded.violations, "at least the group length is wrong"
            offsets = [violation.offset for violation in decoded.violations]
        assert all(0 <= offset <= length for offset in offsets)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_decoded(kind: type) -> None:
    assert decode(kind(ECHO_RQ)).command == PLAIN_ECHO


def test_all_23_messages_are_there() -> None:
    assert {message.name for message in COMMANDS.values()} == {row[0] for row in ROWS}
    assert len(COMMANDS) == 23


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_message_is_as_its_table_in_the_standard(row: list[str]) -> None:
    _, command_field, data_set, *elements = row
    message = COMMANDS[int(command_field, 16)]
    assert message.carries is {"M": True, "-": False}.get(data_set)
    fields = {field.element: field for field in codec.FIELDS[message]}
    own = set(fields) - {0x0800}
    if issubclass(message, Response):
        own -= STATUS_ELEMENTS
    assert own == {int(entry[:4], 16) for entry in elements}
    for entry in elements:
        usage = fields[int(entry[:4], 16)].usage
        if entry[4] != "M":
            assert usage is codec.Usage.OPTIONAL
        elif entry[:4] == "0700":
            assert usage is codec.Usage.MANDATORY
        else:
            assert usage is codec.Usage.NEEDED


US = st.integers(0, 0xFFFF)
UID = st.from_regex(r"[0-9]{1,8}(\.[0-9]{1,8}){0,6}", fullmatch=True)
AE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=16)
COMMENT = st.text(st.sampled_from("abc XYZ0189:,-"), min_size=1, max_size=64).map(str.strip).filter(bool)
TAGS = st.lists(st.integers(0, 0xFFFFFFFF), max_size=5).map(tuple)
BY_VR = {id(codec.ELEMENTS[name][1]): values for name, values in (
    ("message_id", US), ("affected_sop_class_uid", UID), ("move_destination", AE), ("error_comment", COMMENT),
    ("offending_element", TAGS), ("data_set", st.booleans()),
)}  # fmt: skip


@st.composite
def commands(draw: st.DrawFn) -> Command:
    message = draw(st.sampled_from(list(COMMANDS.values())))
    values = {}
    for field in codec.FIELDS[message]:
        value = BY_VR[id(field.vr)]
        if field.usage is codec.Usage.OPTIONAL and field.vr is not codec.ELEMENTS["offending_element"][1]:
            value = st.none() | value
        values[field.name] = draw(value)
    return message(**values)


@settings(max_examples=200)
@given(commands())
def test_round_trip_of_any_message(command: Command) -> None:
    data = encode(command)
    decoded = decode(data)
    assert decoded.command == command
    assert all("data set" in violation.message for violation in decoded.violations)
    tags = tags_of(data)
    assert tags == sorted(tags)
    assert len(data) % 2 == 0


def tags_of(data: bytes) -> list[int]:
    tags, offset = [], 0
    while offset < len(data):
        tags.append(int.from_bytes(data[offset + 2 : offset + 4], "little"))
        offset += 8 + int.from_bytes(data[offset + 4 : offset + 8], "little")
    return tags


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_command_or_a_decode_error(data: bytes) -> None:
    with suppress(DecodeError):
        decode(data)


NUMBERS = st.sampled_from([0, 1, 2, 3, 0x100, 0x110, 0x120, 0x600, 0x700, 0x800, 0x900, 0x901, 0x1000, 0x1001,
                           0x1002, 0x1005, 0x1008, 0x1020, 0x1030, 0x5110, 0x7777])  # fmt: skip
VALUES = st.sampled_from([bytes.fromhex(field)[::-1] for _, field, *_ in ROWS]) | st.binary(max_size=12)


@settings(max_examples=200)
@given(st.lists(st.tuples(NUMBERS, VALUES, st.sampled_from([0, 0, 0, 0, 8])), max_size=12))
def test_any_elements_are_a_command_or_a_decode_error(elements: list[tuple[int, bytes, int]]) -> None:
    data = b"".join(element(number, value, group) for number, value, group in elements)
    try:
        decoded = decode(data)
    except DecodeError as error:
        offsets = [error.offset]
    else:
        offsets = [violation.offset for violation in decoded.violations]
        encode(decoded.command)
    assert all(0 <= offset <= len(data) for offset in offsets)


def test_missing_group_length_is_a_violation() -> None:
    (message,) = violations_of(SOP_CLASS + ECHO_FIELD + MESSAGE_ID + NO_DATA_SET, PLAIN_ECHO)
    assert "group length" in message


def test_wrong_group_length_is_a_violation() -> None:
    body = SOP_CLASS + ECHO_FIELD + MESSAGE_ID + NO_DATA_SET
    (message,) = violations_of(element(0, b"\1\0\0\0") + body, PLAIN_ECHO)
    assert f"{len(body)}" in message


def test_missing_priority_is_a_violation() -> None:
    data = command_set(
        SOP_CLASS, element(0x100, b"\1\0"), MESSAGE_ID, element(0x800, b"\0\0"), element(0x1000, b"1.23")
    )
    (message,) = violations_of(data, CStoreRq(7, "1.2.840.10008.1.1", "1.23"))
    assert message == "C-STORE-RQ without priority (0000,0700)"


@pytest.mark.parametrize("dropped", range(5))
def test_missing_field_that_is_needed_is_a_decode_error(dropped: int) -> None:
    elements = [
        SOP_CLASS,
        element(0x100, b"\1\0"),
        MESSAGE_ID,
        element(0x800, b"\1\0"),
        element(0x1000, b"1.23"),
    ]
    del elements[dropped]
    with pytest.raises(DecodeError, match=r"without|no message"):
        decode(command_set(*elements))


def test_retired_element_is_read_past() -> None:
    data = command_set(
        element(0x0001, b"\0\0\0\0"),
        SOP_CLASS,
        element(0x0010, b"ACR-NEMA 2.0"),
        ECHO_FIELD,
        MESSAGE_ID,
        NO_DATA_SET,
    )
    assert violations_of(data, PLAIN_ECHO) == [
        "C-ECHO-RQ has Length To End (0000,0001), which is none of its elements",
        "C-ECHO-RQ has Recognition Code (0000,0010), which is none of its elements",
    ]


def test_unknown_element_and_one_of_another_group_are_read_past() -> None:
    data = command_set(
        SOP_CLASS, ECHO_FIELD, MESSAGE_ID, NO_DATA_SET, element(0x7777, b"??"), element(0x18, b"1", 8)
    )
    assert violations_of(data, PLAIN_ECHO) == [
        "C-ECHO-RQ has element (0000,7777), which is none of its elements",
        "C-ECHO-RQ has element (0008,0018), which is none of its elements",
    ]


def test_order_does_not_matter_and_is_a_violation() -> None:
    data = command_set(ECHO_FIELD, SOP_CLASS, MESSAGE_ID, NO_DATA_SET)
    (message,) = violations_of(data, PLAIN_ECHO)
    assert "out of ascending order" in message


def test_first_of_two_equal_elements_is_taken() -> None:
    data = command_set(SOP_CLASS, ECHO_FIELD, MESSAGE_ID, element(0x110, b"\x08\0"), NO_DATA_SET)
    (message,) = violations_of(data, PLAIN_ECHO)
    assert message == "message id (0000,0110) is there twice, the first is taken"


@pytest.mark.parametrize("padded", [b"1.2.840.10008.1.1 ", b"1.2.840.10008.1.1\0\0\0", b"1.2.840.10008.1.1"])
def test_padding_other_than_one_nul_is_stripped_and_a_violation(padded: bytes) -> None:
    (message,) = violations_of(
        command_set(element(2, padded), ECHO_FIELD, MESSAGE_ID, NO_DATA_SET), PLAIN_ECHO
    )
    assert "padded" in message


def test_ae_title_padded_with_nuls_is_stripped_and_a_violation() -> None:
    data = command_set(
        element(2, b"1.20"), element(0x100, b"\x21\0"), MESSAGE_ID, element(0x600, b"DEST\0\0"),
        element(0x700, b"\0\0"), element(0x800, b"\1\0"),
    )  # fmt: skip
    (message,) = violations_of(data, CMoveRq(7, "1.20", "DEST"))
    assert "move destination (0000,0600)" in message


def test_ae_title_filled_up_with_spaces_is_as_it_should_be() -> None:
    title = element(0x1030, b"ORIGIN" + b" " * 10)
    store = encode(CStoreRq(7, "1.2", "1.3"))[12:]
    assert decode(command_set(store, title)) == (
        CStoreRq(7, "1.2", "1.3", move_originator_application_entity_title="ORIGIN"),
        (),
    )


def test_number_of_the_wrong_length_is_a_decode_error_only_where_it_is_needed() -> None:
    with pytest.raises(DecodeError, match="message id"):
        decode(command_set(SOP_CLASS, ECHO_FIELD, element(0x110, b"\7\0\0\0"), NO_DATA_SET))
    data = command_set(
        ECHO_FIELD.replace(b"\x30\0", b"\x30\x80"), element(0x120, b"\7\0"), NO_DATA_SET,
        element(0x900, b"\0\0"), element(0x903, b"\0"),
    )  # fmt: skip
    (message,) = violations_of(data, CEchoRsp(7, 0))
    assert "error id" in message


@pytest.mark.parametrize("data_set", [False, True])
def test_request_of_an_unknown_command_field_can_be_answered(data_set: bool) -> None:
    kind = element(0x800, b"\1\0") if data_set else NO_DATA_SET
    data = command_set(SOP_CLASS, element(0x100, b"\xbc\x0a"), MESSAGE_ID, kind)
    request, violations = decode(data)
    assert request == UnrecognizedRq(7, 0x0ABC, data_set=data_set)
    assert ["0ABCH is no message" in violation.message for violation in violations] == [True]
    answer = response(request, 0x0211, "what?")
    assert answer == UnrecognizedRsp(7, 0x0211, unrecognized_field=0x8ABC, error_comment="what?")
    assert element(0x100, b"\xbc\x8a") in encode(answer)


@pytest.mark.parametrize(
    "elements",
    [
        [element(0x100, b"\xbc\x0a"), NO_DATA_SET],
        [element(0x100, b"\xbc\x0a"), element(0x110, b"\7")],
        [element(0x100, b"\xbc\x0a\0\0"), MESSAGE_ID, NO_DATA_SET],
        [MESSAGE_ID, NO_DATA_SET],
    ],
    ids=["no message id", "short message id", "long command field", "no command field"],
)
def test_unknown_request_that_cannot_be_answered_is_a_decode_error(elements: list[bytes]) -> None:
    with pytest.raises(DecodeError, match="Command Field"):
        decode(command_set(*elements))


def test_unknown_command_field_is_a_decode_error_that_names_it() -> None:
    with pytest.raises(DecodeError, match="8FFFH is no message") as caught:
        decode(command_set(SOP_CLASS, element(0x100, b"\xff\x8f"), MESSAGE_ID, NO_DATA_SET))
    assert caught.value.offset == 12 + len(SOP_CLASS)


def test_explicit_vr_is_recognised() -> None:
    with pytest.raises(DecodeError, match="Explicit VR"):
        decode(bytes.fromhex("00000000 554c0400 38000000 00000200 55491200") + b"1.2.840.10008.1.1\0")


@pytest.mark.parametrize("kind", [0x0000, 0x0001, 0x0100, 0x0102, 0xFFFF])
def test_any_data_set_type_but_0101_says_that_a_data_set_follows(kind: int) -> None:
    data = command_set(
        element(0x100, b"\x20\x80"), element(0x120, b"\7\0"), element(0x800, kind.to_bytes(2, "little")),
        element(0x900, b"\0\xff"),
    )  # fmt: skip
    assert decode(data) == (CFindRsp(7, 0xFF00, data_set=True), ())


def test_data_set_where_none_belongs_or_none_where_one_does_is_a_violation() -> None:
    echo = command_set(SOP_CLASS, ECHO_FIELD, MESSAGE_ID, element(0x800, b"\0\0"))
    assert violations_of(echo, CEchoRq(7, "1.2.840.10008.1.1", data_set=True)) == [
        "C-ECHO-RQ with a data set"
    ]
    store = encode(CStoreRq(7, "1.2", "1.3", data_set=False))
    assert violations_of(store, CStoreRq(7, "1.2", "1.3", data_set=False)) == [
        "C-STORE-RQ without a data set"
    ]


def test_empty_optional_field_is_none_and_an_empty_needed_one_is_empty() -> None:
    data = command_set(
        element(2, b""), element(0x100, b"\x40\x01"), MESSAGE_ID, NO_DATA_SET, element(0x1000, b"")
    )
    assert decode(data) == (NCreateRq(7, ""), ())


def test_violations_of_one_command_set_are_bounded() -> None:
    many = [element(0x7777 + number, b"") for number in range(1000)]
    assert len(decode(command_set(SOP_CLASS, ECHO_FIELD, MESSAGE_ID, NO_DATA_SET, *many)).violations) == 32


def test_error_comment_is_cut_to_64_characters_of_printable_ascii() -> None:
    decoded = decode(encode(CStoreRsp(1, 0xA700, error_comment="Grün\\\n" + "x" * 100)))
    assert decoded.command == CStoreRsp(1, 0xA700, error_comment="Gr?n??" + "x" * 58)


def test_status_fields_of_a_response_survive() -> None:
    response = NGetRsp(
        1,
        0x0107,
        attribute_identifier_list=(0x00100010,),
        offending_element=(0x00080018, 0x7FE00010),
        error_id=3,
    )
    assert decode(encode(response)).command == response


def test_sub_operation_counts_of_nought_are_sent() -> None:
    response = CMoveRsp(1, 0xFF00, number_of_remaining_suboperations=0, number_of_failed_suboperations=0)
    assert decode(encode(response)).command == response


@pytest.mark.parametrize(
    "command",
    [CEchoRq(65536, "1.2"), CCancelRq(-1), NActionRq(1, "1.2", "1.3", 1 << 20), CStoreRsp(1, 1 << 16)],
)
def test_number_out_of_range_is_our_own_error(command: Command) -> None:
    with pytest.raises(LocalProtocolError):
        encode(command)
