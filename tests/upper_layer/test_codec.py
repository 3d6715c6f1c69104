"""The seven PDUs, their items and sub-items, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomwire.errors import DecodeError, LocalProtocolError
from dicomwire.upper_layer.codec import decode, encode
from dicomwire.upper_layer.items import (
    ImplementationClassUID,
    MaximumLength,
    ProposedContext,
    UnknownItem,
    UserIdentityRq,
)
from dicomwire.upper_layer.pdu import AssociateAc, AssociateRq, Pdu, PresentationDataValue
from tests.upper_layer.strategies import pdus
from tests.upper_layer.vectors import ECHO_RQ, PADDED, VECTORS, associate

vectors = pytest.mark.parametrize(("data", "pdu"), VECTORS.values(), ids=VECTORS)


def read(data: bytes, violations: list[DecodeError] | None = None) -> Pdu:
    return decode(data[0], memoryview(data)[6:], violations)


def fault(type: int, body: bytes) -> DecodeError | None:
    """What is wrong with a body; any other exception escapes."""
    try:
        decode(type, body)
    except DecodeError as error:
        return error
    return None


@vectors
def test_vector_means_what_stands_beside_it(data: bytes, pdu: Pdu) -> None:
    violations: list[DecodeError] = []
    assert read(data, violations) == pdu
    assert violations == []


@vectors
def test_vector_is_written_as_it_was(data: bytes, pdu: Pdu) -> None:
    # Byte 6 of item 20H is reserved; DCMTK sends FFH in it.
    written = data.replace(bytes.fromhex("2000002e0100ff00"), bytes.fromhex("2000002e01000000"))
    assert encode(pdu) == written


@vectors
def test_vector_cut_at_every_byte_is_a_decode_error_or_a_shorter_pdu(data: bytes, pdu: Pdu) -> None:
    for end in range(6, len(data)):
        error = fault(data[0], data[6:end])
        if error is None:
            assert read(data[:end]) != pdu
        else:
            assert 0 <= error.offset <= end
            assert error.field
            assert error.section.startswith(("PS3.8 ", "PS3.7 "))


@given(pdus)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_again(pdu: Pdu) -> None:
    data = encode(pdu)
    assert int.from_bytes(data[2:6], "big") == len(data) - 6
    assert read(data) == pdu


@given(st.integers(0, 9), st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_pdu_or_a_decode_error(type: int, body: bytes) -> None:
    if fault(type, body) is None:
        pdu = decode(type, body)
        assert read(encode(pdu)) == pdu


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_vector_is_a_pdu_or_a_decode_error(data: st.DataObject) -> None:
    original, _ = data.draw(st.sampled_from(list(VECTORS.values())))
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(6, len(changed) - 1))] = data.draw(st.integers(0, 255))
    error = fault(changed[0], bytes(changed[6:]))
    assert error is None or error.section


def test_item_longer_than_its_pdu_is_told_with_byte_got_and_wanted() -> None:
    data = bytearray(associate("01", "20001000" + "00" * 212))
    with pytest.raises(DecodeError) as caught:
        read(bytes(data))
    assert str(caught.value) == (
        "A-ASSOCIATE-RQ byte 74: item 20H says 4096 bytes, 212 remain (PS3.8 Table 9-13)"
    )
    assert (caught.value.offset, caught.value.field) == (74, "Item-length")
    assert caught.value.section == "PS3.8 Table 9-13"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("010000000002 0001", "A-ASSOCIATE-RQ byte 2: PDU-length says 2 bytes, the fixed fields take 68"),
        ("050000000005 0000000000", "A-RELEASE-RQ byte 2: PDU-length says 5 bytes, it is always 4"),
        ("070000000000", "A-ABORT byte 2: PDU-length says 0 bytes, it is always 4"),
        ("080000000000", "PDU byte 0: PDU-type 08H is unknown"),
        ("040000000005 0000000101", "P-DATA-TF byte 6: 5 bytes remain, the header"),
        (
            "040000000006 00000001 01 00",
            "P-DATA-TF byte 6: presentation-data-value item says 1 bytes, its ID",
        ),
        (
            "040000000006 00000009 01 00",
            "P-DATA-TF byte 6: presentation-data-value item says 9 bytes, 2 remain",
        ),
    ],
)
def test_lengths_that_do_not_add_up_are_told(data: str, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read(bytes.fromhex(data))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("sub_item", "message"),
    [
        ("51000003 000000", "item 51H has 3 bytes, Maximum-length-received takes 4"),
        ("53000005 0000000000", "item 53H has 5 bytes, the two numbers of operations takes 4"),
        ("54000001 00", "1 bytes remain, the length of SOP-class-uid takes 2"),
        ("54000004 0003 312e", "SOP-class-uid says 3 bytes, 2 remain"),
        ("54000006 0003 312e33 00", "1 bytes follow the SOP-class-uid, SCU-role and SCP-role take 2"),
        ("56000003 0002 31", "SOP-class-uid says 2 bytes, 1 remain"),
        ("57000005 0000 0003 31", "Service-class-uid says 3 bytes, 1 remain"),
        ("57000008 0000 0000 0002 0005", "Related-general-sop-class-uid says 5 bytes, 0 remain"),
        ("58000001 01", "item 58H has 1 bytes"),
        ("58000004 0100 0009", "Primary-field says 9 bytes, 0 remain"),
        ("59000002 0001", "Server-response says 1 bytes, 0 remain"),
        ("520000", "3 bytes remain, the header of an item takes 4"),
        ("52000004 31", "item 52H says 4 bytes, 1 remain"),
    ],
)
def test_sub_items_whose_lengths_do_not_add_up_are_told(sub_item: str, message: str) -> None:
    length = len(bytes.fromhex(sub_item))
    with pytest.raises(DecodeError) as caught:
        read(associate("01", f"5000{length:04x}{sub_item}"))
    assert caught.value.what.startswith(message)


def test_padded_uids_are_taken_and_reported() -> None:
    violations: list[DecodeError] = []
    answer = read(PADDED, violations)
    assert isinstance(answer, AssociateAc)
    assert answer.application_context_name == "1.2"
    assert answer.user_information == (ImplementationClassUID("1.2"),)
    assert [violation.field for violation in violations] == [
        "Application-context-name",
        "Implementation-class-uid",
    ]
    assert str(violations[0]) == (
        "A-ASSOCIATE-AC byte 78: Application-context-name '1.2' is padded with 1 NUL or space"
        " (PS3.8 Table 9-12)"
    )


def test_ae_titles_lose_spaces_and_nuls_around_them() -> None:
    data = bytearray(ECHO_RQ)
    data[10:26] = b" ARCHIVE\0\0\0\0\0\0\0\0"
    data[26:42] = bytes(16)
    request = read(bytes(data))
    assert isinstance(request, AssociateRq)
    assert (request.called_ae_title, request.calling_ae_title) == ("ARCHIVE", "")


def test_identity_without_a_secondary_field_is_taken_and_reported() -> None:
    violations: list[DecodeError] = []
    request = read(associate("01", "50000009 58000005 0100 0001 41"), violations)
    assert isinstance(request, AssociateRq)
    assert request.user_information == (UserIdentityRq(1, False, b"A"),)
    assert [str(violation) for violation in violations] == [
        "A-ASSOCIATE-RQ byte 87: Secondary-field-length is missing (PS3.7 Table D.3-14)"
    ]


def test_credentials_do_not_show_in_a_representation() -> None:
    assert "sesame" not in repr(UserIdentityRq(2, True, b"alice", b"sesame"))


def test_items_given_twice_are_reported_and_the_first_counts() -> None:
    violations: list[DecodeError] = []
    request = read(
        associate(
            "01",
            "10000001 31 10000001 32 5000000851000004 00000001 50000008 51000004 00000002"
            "2000000e 01000000 30000001 33 30000001 34",
        ),
        violations,
    )
    assert isinstance(request, AssociateRq)
    assert request.application_context_name == "1"
    assert request.user_information == (MaximumLength(1), MaximumLength(2))
    assert request.presentation_contexts == (ProposedContext(1, "3", ()),)
    assert sorted(violation.field for violation in violations) == [
        "Abstract Syntax Sub-Item",
        "Application Context Item",
        "User Information Item",
    ]


def test_unknown_items_are_kept_at_every_level() -> None:
    context = ProposedContext(1, "1.2", ("1.3",), (UnknownItem(0x31, b"ab", reserved=9),))
    request = AssociateRq(
        "A", "B", (context,), (UnknownItem(0x5F, b"cd"),), unknown_items=(UnknownItem(0x11, b"ef"),)
    )
    assert read(encode(request)) == request


@pytest.mark.parametrize(
    "request_",
    [
        AssociateRq("SEVENTEEN LETTERS", "B", (), ()),
        AssociateRq("Ω", "B", (), ()),
        AssociateRq("A", "B", (ProposedContext(256, "1", ()),), ()),
        AssociateRq("A", "B", (), (MaximumLength(2**32),)),
        AssociateRq("A", "B", (), (UnknownItem(0x60, bytes(70000)),)),
    ],
    ids=["long AE title", "other characters", "context ID", "maximum length", "item"],
)
def test_what_does_not_fit_its_field_is_our_own_fault(request_: AssociateRq) -> None:
    with pytest.raises(LocalProtocolError, match="AssociateRq has a value that does not fit its field"):
        encode(request_)


def test_values_of_p_data_are_views_into_the_buffer() -> None:
    body = memoryview(bytearray(bytes.fromhex("00000005 01 03 aabbcc")))
    pdu = decode(4, body)
    value: PresentationDataValue = pdu.values[0]  # type: ignore[union-attr]
    assert isinstance(value.data, memoryview)
    body[6] = 0
    assert value.data[0] == 0
