from __future__ import annotations

import json

import pytest

from dicomwire.node.masking import masked, masked_line


@pytest.mark.parametrize(
    ("line", "hidden"),
    [
        ("12:00 [info] login user=doe peer=1.2.3.4", "doe"),
        ("12:00 [info] login user='john doe' peer=1.2.3.4", "john"),
        ("identity={'name': 'doe', 'realm': 'X'} peer=1", "doe"),
        ('{"event": "x", "password": "hun\\"ter2"}', "ter2"),
        ('{"patient_id": "4711", "event": "stored"}', "4711"),
        ("PatientName=DOE^JANE study=1", "JANE"),
        ("found MUELLER^HANS there", "HANS"),
        ("Authorization: Bearer eyJhbGciOi.abc-def", "eyJ"),
        ("header Basic dXNlcjpwYXNz", "dXNl"),
        ("postgresql://doe:secret1@db/archive", "secret1"),
    ],
)
def test_lines_lose_people_and_secrets(line: str, hidden: str) -> None:
    assert hidden in line
    assert hidden not in masked_line(line)
    assert "***" in masked_line(line)


def test_lines_without_any_stay_as_they_are() -> None:
    line = "12:00 [info] association ended calling_ae_title=CT1 how='released by the peer' bytes_sent=3"
    assert masked_line(line) == line


def test_facts_are_masked_by_their_keys() -> None:
    facts = {"associations": [{"user": "doe", "peer": "1:2", "identity": {}}], "note": "DOE^JANE came"}
    text = json.dumps(masked(facts))
    assert "doe" not in text
    assert "JANE" not in text
    assert "1:2" in text
