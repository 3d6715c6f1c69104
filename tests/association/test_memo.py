"""What is remembered of requests and answers, and what never is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dicomwire.association import memo as memory
from dicomwire.association.memo import Answer, Memo
from dicomwire.errors import DecodeError
from dicomwire.upper_layer import codec
from dicomwire.upper_layer.items import MaximumLength, UserIdentityRq
from dicomwire.upper_layer.pdu import AssociateRq, Pdu, PduType
from tests.association.support import POLICY, associate_rq

SECRET = UserIdentityRq(2, False, b"ann", b"secret")


def body(request: AssociateRq) -> memoryview:
    return memoryview(codec.encode(request))[6:]


def decoded(memo: Memo, request: AssociateRq) -> Pdu:
    violations: list[DecodeError] = []
    pdu = memo.decode(PduType.A_ASSOCIATE_RQ, body(request), violations)
    assert violations == []
    return pdu


def answered(memo: Memo, request: AssociateRq) -> Answer:
    return memo.answer(request, bytes(body(request)), POLICY)


def test_request_is_read_alike_whether_it_is_remembered_or_not() -> None:
    memo = Memo(2)
    for request in (
        associate_rq(called="A", calling="ONE"),
        associate_rq(called="B", calling="TWO"),
        replace(associate_rq(calling="ONE"), protocol_version=3),
    ):
        assert decoded(memo, request) == request
    first, second = decoded(memo, associate_rq(calling="X")), decoded(memo, associate_rq(calling="Y"))
    assert isinstance(first, AssociateRq)
    assert isinstance(second, AssociateRq)
    assert first.presentation_contexts is second.presentation_contexts


def test_request_with_something_wrong_in_it_is_reported_each_time() -> None:
    memo = Memo(2)
    twice = bytes(body(associate_rq())) + bytes.fromhex("10000001 31")
    for _ in range(2):
        violations: list[DecodeError] = []
        memo.decode(PduType.A_ASSOCIATE_RQ, memoryview(twice), violations)
        assert len(violations) == 1


@pytest.mark.parametrize("length", [0, 67, 68])
def test_request_without_items_is_judged_by_the_codec(length: int) -> None:
    data = memoryview(bytes(length))
    try:
        expected = codec.decode(PduType.A_ASSOCIATE_RQ, data)
    except DecodeError as error:
        with pytest.raises(DecodeError, match=error.what):
            Memo(2).decode(PduType.A_ASSOCIATE_RQ, data, [])
    else:
        assert Memo(2).decode(PduType.A_ASSOCIATE_RQ, data, []) == expected


def test_answer_is_remembered_by_the_bytes_behind_the_titles_and_never_with_credentials() -> None:
    memo = Memo(2)
    first = answered(memo, associate_rq(calling="ONE"))
    assert answered(memo, associate_rq(calling="TWO")) is first
    assert answered(memo, associate_rq(contexts=2)) is not first
    assert answered(memo, associate_rq(SECRET)) is not answered(memo, associate_rq(SECRET))
    answered(memo, associate_rq(contexts=1))
    assert answered(memo, associate_rq(calling="ONE")) is not first


def test_encoded_answer_is_that_of_the_negotiation_but_for_the_titles() -> None:
    answer = answered(Memo(2), associate_rq(called="A", calling="ONE"))
    given = replace(answer.negotiation.answer, called_ae_title="B", calling_ae_title="SIXTEEN_LETTERS_")
    assert codec.with_titles(answer.encoded, "B", "SIXTEEN_LETTERS_") == codec.encode(given)


def test_credentials_are_not_kept() -> None:
    memo = Memo(2)
    one, two = decoded(memo, associate_rq(SECRET)), decoded(memo, associate_rq(SECRET))
    assert isinstance(one, AssociateRq)
    assert isinstance(two, AssociateRq)
    assert one.presentation_contexts is not two.presentation_contexts


def test_memory_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_BYTES", 1000)
    memo = Memo(100)
    first = answered(memo, associate_rq())
    assert answered(memo, associate_rq()) is first
    for length in range(4096, 4106):
        answered(memo, associate_rq(MaximumLength(length)))
    assert answered(memo, associate_rq()) is not first


def test_memo_of_nothing_remembers_nothing() -> None:
    memo = Memo(0)
    assert answered(memo, associate_rq()) is not answered(memo, associate_rq())
