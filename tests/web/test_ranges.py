from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.web.problems import Problem
from dicomwire.web.ranges import byte_range


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-", 2, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-30", 0, 10),
        ("Bytes = 4 - 99", 4, 10),
    ],
)
def test_a_range_of_ten_bytes(header: str, start: int, end: int) -> None:
    found = byte_range(header, 10)
    assert found is not None
    assert (found.start, found.end) == (start, end)
    assert found.content_range == f"bytes {start}-{end - 1}/10"


@pytest.mark.parametrize(
    "header", [None, "", "bytes=-", "bytes=a-b", "items=0-1", "bytes=0-1,4-5", "bytes=5-2", "0-1"]
)
def test_what_is_no_single_range_asks_for_everything(header: str | None) -> None:
    assert byte_range(header, 10) is None


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_behind_the_end_is_416_with_the_length(header: str) -> None:
    with pytest.raises(Problem) as caught:
        byte_range(header, 10)
    assert caught.value.status == 416
    assert caught.value.headers["Content-Range"] == "bytes */10"


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 40))
def test_a_range_lies_within_the_representation(first: int, last: int, total: int) -> None:
    try:
        found = byte_range(f"bytes={first}-{last}", total)
    except Problem:
        assert first >= total
        return
    if found is not None:
        assert 0 <= found.start < found.end <= total
