from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.web.media_types import (
    DICOM,
    DICOM_JSON,
    OCTET_STREAM,
    MediaType,
    Wanted,
    parse_accept,
    parse_media_type,
)
from dicomwire.web.problems import Problem


@contextmanager
def refusal_with_400() -> Iterator[None]:
    """Lets a refusal pass, as long as it is a 400."""
    try:
        yield
    except Problem as problem:
        if problem.status != 400:
            raise


@pytest.mark.parametrize(
    "text",
    [
        'multipart/related; type="application/dicom"; boundary="a b"',
        'multipart/related;type=application/dicom;boundary="a b"',
        'Multipart/RELATED ; TYPE = "application/dicom" ;; Boundary="a\\ b" ;',
    ],
)
def test_parameters_may_be_quoted_or_not_and_in_any_case(text: str) -> None:
    media_type = parse_media_type(text)
    assert media_type.essence == "multipart/related"
    assert media_type.parameter("type") == DICOM
    assert media_type.parameter("boundary") == "a b"


@pytest.mark.parametrize(
    "text", ["", "dicom", "/", "a/b c", 'a/b; x="open', "a/b, c/d", "a b/c", "\0/\0", "a/b; =1"]
)
def test_what_is_no_media_type_is_refused_with_400(text: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_media_type(text)
    assert caught.value.status == 400


@given(st.text(max_size=60))
def test_any_accept_header_is_read_or_refused_with_400(text: str) -> None:
    qualities: list[float] = []
    with refusal_with_400():
        qualities = [wanted.quality for wanted in parse_accept([text]).wanted]
    assert qualities == sorted(qualities, reverse=True)


def test_no_accept_takes_everything_in_either_form() -> None:
    (wanted,) = parse_accept([]).wanted
    assert wanted.multipart
    assert wanted.single
    assert wanted.part.matches(DICOM)
    assert wanted.transfer_syntax is None


def test_the_better_quality_comes_first_and_the_specific_before_the_wild() -> None:
    accept = parse_accept(["*/*, application/dicom;q=0.5, application/*, application/dicom+json;q=1.0"])
    assert [wanted.part.essence for wanted in accept.wanted] == [
        DICOM_JSON,
        "application/*",
        "*/*",
        DICOM,
    ]


def test_equal_ranges_keep_the_order_given() -> None:
    accept = parse_accept(["image/jpeg, image/jls", "image/jp2"])
    assert [wanted.part.essence for wanted in accept.wanted] == ["image/jpeg", "image/jls", "image/jp2"]


def test_quality_0_refuses() -> None:
    accept = parse_accept(["*/*, application/dicom;q=0"])
    (anything,) = accept.wanted
    assert not accept.allows(anything, DICOM, multipart=False)
    assert accept.allows(anything, DICOM, multipart=True)
    assert accept.allows(anything, OCTET_STREAM, multipart=False)


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("image/*, image/jpeg;q=0.5", "image/png"),
        ("image/*;q=0.5, image/jpeg", "image/jpeg"),
        ("*/*, image/*;q=0.5", "text/html"),
        ("*/*, image/*;q=0, text/*;q=0.1", "text/html"),
        ("*/*;q=0.4, image/*;q=0.9, image/png;q=0.3", "image/jpeg"),
        ("image/*, image/jpeg;q=0.2, image/png;q=0.1", "image/jpeg"),
        ("image/*;q=0, image/png", "image/png"),
    ],
)
def test_the_closest_range_says_the_quality_of_a_media_type(header: str, chosen: str) -> None:
    accept = parse_accept([header])

    def offer(wanted: Wanted) -> str | None:
        return next(
            (
                each
                for each in ("image/jpeg", "image/png", "text/html")
                if wanted.part.matches(each) and accept.allows(wanted, each, multipart=False)
            ),
            None,
        )

    assert accept.choose(offer) == chosen


@pytest.mark.parametrize(
    "text",
    [
        *(f"application/dicom;q={quality}" for quality in ("2", "-1", "high", "1.5", "")),
        *(f'application/dicom; transfer-syntax="{uid}"' for uid in ("../x", "1..2", "1." * 40, "abc")),
        *("garbage", "a/b c", 'a/b; x="open', "/", 'multipart/related; type="nothing"'),
    ],
)
def test_what_cannot_be_read_is_ignored_in_the_header_and_400_in_the_query(text: str) -> None:
    (wanted,) = parse_accept([f"image/png;q=0.3, {text}"]).wanted
    assert wanted.part.essence == "image/png"
    assert parse_accept([text]).wanted == ()
    with pytest.raises(Problem) as caught:
        parse_accept(["image/png"], [text])
    assert caught.value.status == 400


def test_multipart_is_taken_apart() -> None:
    (wanted,) = parse_accept(
        ['multipart/related; type="image/jls"; transfer-syntax=1.2.840.10008.1.2.4.80']
    ).wanted
    assert wanted.multipart
    assert not wanted.single
    assert wanted.part == MediaType("image", "jls")
    assert wanted.transfer_syntax == "1.2.840.10008.1.2.4.80"


def test_a_transfer_syntax_inside_the_type_counts_too() -> None:
    (wanted,) = parse_accept(['multipart/related; type="application/dicom; transfer-syntax=*"']).wanted
    assert wanted.transfer_syntax == "*"


def test_the_query_parameter_goes_before_the_header_and_gets_its_plus_back() -> None:
    accept = parse_accept(["text/html, */*"], ["application/dicom json"])
    assert [wanted.part.essence for wanted in accept.wanted] == [DICOM_JSON]


@pytest.mark.parametrize(("text", "essence"), [("image/", "image/*"), ("*", "*/*"), ("*;q=.2", "*/*")])
def test_ranges_as_some_clients_write_them(text: str, essence: str) -> None:
    (wanted,) = parse_accept([text]).wanted
    assert wanted.part.essence == essence
