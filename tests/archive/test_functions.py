"""SQL functions: moments in other time zones, and what of a DT is not said (PS3.5 6.2, PS3.4 C.4.1.1.3.1)."""

from __future__ import annotations

import pytest

from dicomwire.archive.functions import last_moment, moment, shifted


@pytest.mark.parametrize(
    ("day", "time", "offset", "wanted", "expected"),
    [
        ("20240101", "233000.5", "+0100", "+0900", "20240102073000.5"),
        ("20240101", "2330", "+0100", "-0500", "202401011730"),
        ("20240301", "00", "+0000", "-0330", "2024022920"),
        ("20240101", "10:15:30", "+0000", "+0530", "20240101154530"),
        ("20240101", "", "+0100", "+0900", "20240101"),
        ("20240101", "2330", "", "+0900", "202401012330"),
        ("20240101", "2330", "CET", "+0900", "202401012330"),
        ("20241399", "2330", "+0100", "+0900", "202413992330"),
        ("00010101", "00", "+0100", "-0900", "0001010100"),
    ],
)
def test_a_moment_in_another_zone(day: str, time: str, offset: str, wanted: str, expected: str) -> None:
    assert shifted(day, time, offset, wanted) == expected


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", "20240101000000.000000", "20241231235959.999999"),
        ("20240211", "20240211000000.000000", "20240211235959.999999"),
        ("20240211101530.25", "20240211101530.250000", "20240211101530.259999"),
        ("20240101000000+0100", "20231231230000.000000", "20231231230000.999999"),
        ("soon", "", ""),
        ("", "", ""),
        ("20249999999999-0100", "", ""),
    ],
)
def test_a_dt_is_the_range_of_its_precision(text: str, first: str, last: str) -> None:
    assert (moment(text), last_moment(text)) == (first, last)
