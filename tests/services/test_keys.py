"""Query keys as Python values."""

from __future__ import annotations

from datetime import date, datetime, time

import pytest
from pydicom.dataset import Dataset

from dicomwire.dicom.identifier import Key
from dicomwire.errors import QueryError
from dicomwire.services.keys import Query, Value, in_step, keys_of


def said(query: Query = None, **keywords: Value) -> dict[str, str]:
    return {key.name: key.value for key in keys_of(query, keywords)}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("DOE*", "DOE*"),
        (None, ""),
        ("", ""),
        (7, "7"),
        (1.5, "1.5"),
        (date(2024, 1, 2), "20240102"),
        (time(1, 2, 3), "010203"),
        (datetime(2024, 1, 2, 3, 4, 5), "20240102030405"),
        (["CT", "MR"], "CT\\MR"),
        ((date(2024, 1, 2), date(2024, 1, 3)), "20240102\\20240103"),
        ([], ""),
    ],
)
def test_a_value_is_written_as_dicom_has_it(value: Value, text: str) -> None:
    (key,) = keys_of(None, {"PatientID": value})
    assert (key.value, key.given) == (text, bool(text))


def test_a_mapping_is_what_is_in_a_sequence() -> None:
    found = said(RequestAttributesSequence={"RequestedProcedureID": "7", "ScheduledProcedureStepID": None})
    assert found == {
        "RequestAttributesSequence": "",
        "RequestAttributesSequence.RequestedProcedureID": "7",
        "RequestAttributesSequence.ScheduledProcedureStepID": "",
    }


def test_keys_come_in_every_form_and_add_up() -> None:
    data = Dataset()
    data.PatientID, data.PatientName = "7", None
    for query in ("PatientID=7", ["PatientID=7"], [Key((0x00100020,), "7")], {"PatientID": 7}, data):
        assert said(query, StudyDate="2024-")["PatientID"] == "7"  # type: ignore[arg-type]
        assert said(query, StudyDate="2024-")["StudyDate"] == "2024-"  # type: ignore[arg-type]


def test_an_unknown_keyword_is_refused() -> None:
    with pytest.raises(QueryError, match="did you mean PatientID"):
        said(PatientId="7")


def test_keys_of_a_scheduled_step_find_their_sequence() -> None:
    assert in_step({"Modality": "CT", "PatientID": "7", "ScheduledStationAETitle": "A"}) == {
        "ScheduledProcedureStepSequence.Modality": "CT",
        "PatientID": "7",
        "ScheduledProcedureStepSequence.ScheduledStationAETitle": "A",
    }
