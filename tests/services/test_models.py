"""Levels, roots and the keys that are added to what people ask."""

from __future__ import annotations

import pytest

from dicomwire.dicom.identifier import Key, parse
from dicomwire.errors import QueryError
from dicomwire.services.models import (
    Level,
    Root,
    level_named,
    missing_parents,
    query,
    retrieval,
    root_for,
    root_named,
)


def keys(*texts: str) -> list[Key]:
    return [parse(text) for text in texts]


def said(found: tuple[Key, ...]) -> dict[str, str]:
    return {key.name: key.value for key in found}


@pytest.mark.parametrize(
    ("texts", "root", "level"),
    [
        ([], Root.STUDY, "STUDY"),
        (["PatientName=DOE*"], Root.STUDY, "STUDY"),
        (["PatientName=DOE*"], Root.PATIENT, "PATIENT"),
        (["PatientName=DOE*", "StudyDate=2020-"], Root.PATIENT, "STUDY"),
        (["ModalitiesInStudy=CT"], Root.STUDY, "STUDY"),
        (["StudyInstanceUID=1.2", "Modality=CT"], Root.STUDY, "SERIES"),
        (["StudyInstanceUID=1.2", "SeriesInstanceUID=1.3", "SOPInstanceUID"], Root.STUDY, "IMAGE"),
        (["(0009,1001)=x"], Root.STUDY, "STUDY"),
        (["QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.2"], Root.STUDY, "SERIES"),
        (["QueryRetrieveLevel=PATIENT", "StudyDate"], Root.PATIENT, "PATIENT"),
    ],
)
def test_the_level_is_that_of_the_lowest_key(texts: list[str], root: Root, level: str) -> None:
    assert said(query(keys(*texts), root))["QueryRetrieveLevel"] == level


def test_without_return_keys_the_usual_ones_are_asked_for() -> None:
    found = said(query(keys("PatientName=DOE*"), Root.STUDY))
    assert found["PatientName"] == "DOE*"
    assert {"PatientID", "StudyDate", "StudyInstanceUID", "ModalitiesInStudy"} <= found.keys()


def test_with_return_keys_only_these_and_the_unique_keys_are_asked_for() -> None:
    found = said(query(keys("PatientName=DOE*", "StudyDescription"), Root.STUDY))
    assert found.keys() == {"PatientName", "StudyDescription", "StudyInstanceUID", "QueryRetrieveLevel"}


def test_a_worklist_query_has_no_level() -> None:
    found = said(query(keys("PatientName=DOE*"), Root.WORKLIST))
    assert "QueryRetrieveLevel" not in found
    assert "ScheduledProcedureStepSequence.Modality" in found


def test_a_level_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(QueryError, match="Study Root has no level PATIENT"):
        query([], Root.STUDY, Level.PATIENT)
    with pytest.raises(QueryError, match="no level SERIES"):
        query([], Root.PATIENT_STUDY_ONLY, Level.SERIES)


@pytest.mark.parametrize(
    ("texts", "root", "level"),
    [
        (["StudyInstanceUID=1.2"], Root.STUDY, "STUDY"),
        (["StudyInstanceUID=1.2", "SeriesInstanceUID=1.3"], Root.STUDY, "SERIES"),
        (["StudyInstanceUID=1.2", "SeriesInstanceUID=1.3", "SOPInstanceUID=1.4\\1.5"], Root.STUDY, "IMAGE"),
        (["PatientID=7"], Root.PATIENT, "PATIENT"),
    ],
)
def test_a_retrieval_has_its_unique_keys_and_nothing_else(texts: list[str], root: Root, level: str) -> None:
    found = said(retrieval(keys(*texts, "StudyDate"), root))
    assert found["QueryRetrieveLevel"] == level
    assert len(found) == len(texts) + 1


@pytest.mark.parametrize(
    ("texts", "level", "words"),
    [
        (["PatientName=DOE"], None, "not by PatientName"),
        (["PatientID=7", "StudyInstanceUID=1.2"], None, "not by PatientID"),
        ([], None, "nothing is named"),
        (["StudyInstanceUID=1.2"], Level.SERIES, "needs a value of SeriesInstanceUID"),
    ],
)
def test_a_retrieval_that_cannot_be_is_refused(texts: list[str], level: Level | None, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        retrieval(keys(*texts), Root.STUDY, level)


def test_the_root_follows_from_what_is_asked() -> None:
    assert root_for(keys("PatientID=7"), None) is Root.STUDY
    assert root_for(keys("PatientID=7"), Level.PATIENT) is Root.PATIENT
    assert root_for(keys("PatientID=7", "QueryRetrieveLevel=PATIENT"), None) is Root.PATIENT
    assert root_for(keys("PatientID=7"), None, retrieve=True) is Root.PATIENT
    assert root_for(keys("StudyInstanceUID=1.2"), None, retrieve=True) is Root.STUDY


def test_levels_and_roots_are_named_in_any_case() -> None:
    assert level_named("instance") is level_named("Image") is Level.IMAGE
    assert root_named("patient-study-only") is Root.PATIENT_STUDY_ONLY
    with pytest.raises(QueryError, match="PATIENT, STUDY, SERIES, IMAGE"):
        level_named("FRAME")
    with pytest.raises(QueryError, match="worklist"):
        root_named("x")


def test_missing_unique_keys_above_the_level_are_named() -> None:
    texts = keys("StudyInstanceUID=1.2\\1.3", "Modality=CT")
    assert missing_parents(texts, Root.STUDY, Level.SERIES) == ("StudyInstanceUID",)
    assert missing_parents(texts, Root.PATIENT, Level.SERIES) == ("PatientID", "StudyInstanceUID")
    assert missing_parents(keys("StudyInstanceUID=1.2"), Root.STUDY, Level.SERIES) == ()
