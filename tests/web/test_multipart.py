from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dicomwire.web.media_types import parse_media_type
from dicomwire.web.multipart import (
    PREAMBLE_LIMIT,
    PartBegin,
    PartData,
    PartEnd,
    PartReader,
    PartWriter,
    WholeBody,
    boundary_of,
)
from dicomwire.web.problems import Problem

Part = tuple[tuple[tuple[str, str], ...], bytes]

BOUNDARY = b"--=_x'y:z"


def parts_of(chunks: list[bytes], boundary: bytes = BOUNDARY) -> list[Part]:
    """The parts of a body fed in chunks; the reader's events in the only order they may have."""
    reader = PartReader(boundary)
    parts: list[Part] = []
    headers: tuple[tuple[str, str], ...] | None = None
    data = bytearray()
    for event in [event for chunk in chunks for event in reader.feed(chunk)] + list(reader.end()):
        if isinstance(event, PartBegin):
            assert headers is None
            headers = event.headers
        elif isinstance(event, PartData):
            assert headers is not None
            data += event.data
        else:
            assert isinstance(event, PartEnd)
            assert headers is not None
            parts.append((headers, bytes(data)))
            headers = None
            data.clear()
    return parts


def body_of(parts: list[Part], boundary: bytes = BOUNDARY) -> bytes:
    body = b""
    for headers, data in parts:
        lines = b"".join(f"{name}: {value}\r\n".encode("latin_1") for name, value in headers)
        body += b"\r\n--" + boundary + b"\r\n" + lines + b"\r\n" + data
    return body + b"\r\n--" + boundary + b"--\r\n"


@contextmanager
def refusal_with_400() -> Iterator[None]:
    """Lets a refusal pass, as long as it is a 400."""
    try:
        yield
    except Problem as problem:
        if problem.status != 400:
            raise


def chunked(body: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [body[start:end] for start, end in pairwise(places)]


# Data full of what nearly is a boundary
NEARLY = [
    b"\r\n",
    b"--",
    b"\r\n--",
    BOUNDARY,
    b"\r\n--" + BOUNDARY[:-1],
    b"--" + BOUNDARY,
    b"\r",
    b"\n",
    b"-",
    b"\0",
]
payload = (
    st.lists(st.sampled_from(NEARLY) | st.binary(max_size=8), max_size=12)
    .map(b"".join)
    .filter(lambda data: b"\r\n--" + BOUNDARY not in b"\r\n" + data + b"\r\n--")
)
headers = st.sampled_from(
    [(), (("content-type", "application/dicom"),), (("content-type", "a/b; c=d"), ("content-location", "x"))]
)


@given(
    st.lists(st.tuples(headers, payload), min_size=1, max_size=4),
    st.lists(st.integers(0, 10_000), max_size=20),
)
@settings(max_examples=200)
@example([((), b"\r\n--" + BOUNDARY[:-1] + b"-\r")], [])
def test_any_chunking_gives_the_same_parts(parts: list[Part], cuts: list[int]) -> None:
    assert parts_of(chunked(body_of(parts), cuts)) == parts


def test_one_byte_at_a_time_gives_the_same_parts() -> None:
    parts: list[Part] = [((("content-type", "application/dicom"),), b"\r\n--" + BOUNDARY + b"x"), ((), b"")]
    body = body_of(parts)
    assert parts_of([body[i : i + 1] for i in range(len(body))]) == parts


def test_a_body_cut_at_every_byte_is_refused_with_400() -> None:
    body = body_of([((("content-type", "application/dicom"),), b"DICM" * 5), ((), b"abc")])
    complete = body.rindex(b"--") + 2
    for cut in range(complete):
        with pytest.raises(Problem) as caught:
            parts_of([body[:cut]])
        assert caught.value.status == 400


def test_preamble_and_epilogue_are_let_pass() -> None:
    body = b"This is MIME.\r\n-- not yet" + body_of([((), b"data")]) + b"epilogue\r\n--" + BOUNDARY + b"\r\n"
    assert parts_of([body]) == [((), b"data")]


def test_an_endless_preamble_is_refused() -> None:
    with pytest.raises(Problem, match="no boundary in its first"):
        parts_of([b"x" * 512] * (PREAMBLE_LIMIT // 512 + 2))


def test_padding_behind_a_boundary_is_let_pass() -> None:
    body = b"--" + BOUNDARY + b" \t\r\n\r\none\r\n--" + BOUNDARY + b"  \r\n\r\ntwo\r\n--" + BOUNDARY + b"--"
    assert parts_of([body]) == [((), b"one"), ((), b"two")]


def test_a_body_of_only_the_closing_boundary_has_no_parts() -> None:
    assert parts_of([b"--" + BOUNDARY + b"--\r\n"]) == []


@pytest.mark.parametrize(
    "head",
    [
        b"no colon\r\n",
        b"bad name: x\r\n",
        b": x\r\n",
        b"A: " + b"x" * 9000 + b"\r\n",
        b"A: x\r\n" * 40,
        b"A: x\n\n",
    ],
)
def test_part_headers_that_cannot_be_are_refused_with_400(head: bytes) -> None:
    with pytest.raises(Problem) as caught:
        parts_of([b"--" + BOUNDARY + b"\r\n" + head + b"\r\ndata\r\n--" + BOUNDARY + b"--"])
    assert caught.value.status == 400


@given(st.lists(st.sampled_from(NEARLY) | st.binary(max_size=10), max_size=10))
@settings(max_examples=100)
def test_any_bytes_are_parts_or_a_400(chunks: list[bytes]) -> None:
    with refusal_with_400():
        parts_of(chunks)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/related",
        'multipart/related; boundary=""',
        'multipart/related; boundary="a\r\nb"',
        "multipart/related; boundary=" + "x" * 300,
        'multipart/related; boundary="x "',
    ],
)
def test_a_boundary_that_cannot_be_is_refused_with_400(content_type: str) -> None:
    with pytest.raises(Problem) as caught:
        boundary_of(parse_media_type(content_type))
    assert caught.value.status == 400


def test_a_whole_body_is_one_part_and_no_body_none() -> None:
    body = WholeBody()
    assert body.end() == ()
    assert [type(event) for event in (*body.feed(b"a"), *body.feed(b"b"), *body.end())] == [
        PartBegin,
        PartData,
        PartData,
        PartEnd,
    ]


def test_what_the_writer_writes_the_reader_reads() -> None:
    writer = PartWriter("application/dicom")
    content_type = parse_media_type(writer.content_type)
    assert content_type.parameter("type") == "application/dicom"
    body = (
        writer.head("application/dicom", location="http://h/x")
        + b"one"
        + writer.head("a/b")
        + b"two"
        + writer.tail
    )
    assert parts_of([body], boundary_of(content_type)) == [
        ((("content-type", "application/dicom"), ("content-location", "http://h/x")), b"one"),
        ((("content-type", "a/b"),), b"two"),
    ]
