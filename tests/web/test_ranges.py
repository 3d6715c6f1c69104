from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.web.problems import Problem
from dicomwire.web.ranges import byte_ranges


@pytest.mark.parametrize(
    ("header", "spans"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=2-", [(2, 10)]),
        ("bytes=-3", [(7, 10)]),
        ("bytes=-30", [(0, 10)]),
        ("Bytes = 4 - 99", [(4, 10)]),
        ("bytes=0-" + "9" * 5_000, [(0, 10)]),
        ("bytes=-" + "9" * 5_000, [(0, 10)]),
        ("bytes=0-1,4-5", [(0, 2), (4, 6)]),
        ("bytes=-2, 0-1 ,, 20-", [(8, 10), (0, 2)]),
    ],
)
def test_ranges_of_ten_bytes(header: str, spans: list[tuple[int, int]]) -> None:
    found = byte_ranges(header, 10)
    assert [(span.start, span.end) for span in found] == spans
    assert found[0].content_range == f"bytes {spans[0][0]}-{spans[0][1] - 1}/10"


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "bytes=", "bytes=,", "bytes=-", "bytes=a-b", "items=0-1", "bytes=5-2", "0-1"),
        *("bytes=0-1,x", "bytes=0-1,5-2", "bytes=0-,0-", "bytes=" + "0-0," * 33, "bytes=٣-"),
    ],
)
def test_what_is_no_range_or_more_than_all_asks_for_everything(header: str | None) -> None:
    assert byte_ranges(header, 10) == []


@pytest.mark.parametrize(
    "header", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=10-,20-", "bytes=" + "9" * 5_000 + "-"]
)
def test_ranges_behind_the_end_are_416_with_the_length(header: str) -> None:
    with pytest.raises(Problem) as caught:
        byte_ranges(header, 10)
    assert caught.value.status == 416
    assert caught.value.headers["Content-Range"] == "bytes */10"


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 40))
def test_a_range_lies_within_the_representation(first: int, last: int, total: int) -> None:
    try:
        found = byte_ranges(f"bytes={first}-{last}", total)
    except Problem:
        assert first >= total
        return
    assert all(0 <= span.start < span.end <= total for span in found)
