"""Each kind of matching, against a small catalogue with the schema's own tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomwire.archive.query import Level, Match, Query, folded, level_of, statement
from dicomwire.archive.schema import STATEMENTS
from dicomwire.dicom.dictionary import TAGS
from dicomwire.errors import QueryError

#          uid      patient id  name                           date        time          accession  modalities
STUDIES = [
    ("1.1", "P1", "Doe^Jane", "20240101", "101530", "A1", "CT"),
    ("1.2", "P2", "Müller^Jörg", "20240215", "1016", "A_2", "CT\\SEG"),
    ("1.3", "p1", "Yamada^Tarou=山田^太郎=やまだ^たろう", "20231231", "235959.5", "A[3]", "MR"),
    ("1.4", "P%", "", "", "", "", ""),
]


@pytest.fixture(scope="module")
def catalogue() -> Iterator[sqlite3.Connection]:
    """Four studies of one series with one current instance and one conflict version each."""
    connection = sqlite3.connect(":memory:")
    for text in STATEMENTS:
        connection.execute(text)
    connection.execute("INSERT INTO segment VALUES (1, 's', 0)")
    for n, (uid, patient, name, date, time, accession, modalities) in enumerate(STUDIES, 1):
        institution = (
            f'"00081030":{{"vr":"LO","Value":["Thorax {n}","x"]}},"00101030":{{"vr":"DS","Value":[7{n}.5]}}'
        )
        connection.execute(
            f"INSERT INTO study VALUES ({','.join('?' * 20)})",
            (
                n,
                uid,
                patient,
                "",
                name,
                folded(name),
                "19700101",
                "F",
                date,
                time,
                accession,
                "",
                "",
                f"S{n}",
                f"Thorax {n}",
                "",
                modalities,
                1,
                1,
                institution,
            ),
        )
        series = (
            '"00080070":{"vr":"LO","Value":["ACME"]},"00081070":{"vr":"PN","Value":[{"Alphabetic":"Op^A"}]}'
        )
        connection.execute(
            f"INSERT INTO series VALUES ({','.join('?' * 12)})",
            (n, n, f"{uid}.1", modalities[:2], n, "", date, time, f"STEP{n}\\X", "", 1, series),
        )
        for current in (0, 1):
            connection.execute(
                f"INSERT INTO instance VALUES ({','.join('?' * 19)})",
                (
                    n * 2 + current,
                    n,
                    f"{uid}.1.1",
                    "1.2.840",
                    "1.2",
                    n,
                    512,
                    256,
                    16,
                    1,
                    None,
                    None,
                    None,
                    current,
                    1,
                    0,
                    0,
                    0,
                    0,
                ),
            )
    yield connection
    connection.close()


def find(catalogue: sqlite3.Connection, level: Level = Level.STUDY, **keys: str) -> list[str]:
    matches = tuple(Match(tuple(TAGS[k] for k in name.split("__")), v) for name, v in keys.items())
    rows = catalogue.execute(*statement(Query(level, matches, empty_values=True))).fetchall()
    return sorted(row[1] for row in rows)


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("PatientID", "P1", "1.1"),
        ("PatientID", " P1 ", "1.1"),
        ("PatientID", "P1\\P2", "1.1 1.2"),
        ("PatientID", "P%", "1.4"),
        ("PatientID", "P?", "1.1 1.2 1.4"),
        ("PatientID", "?1", "1.1 1.3"),
        ("PatientID", "' OR 1=1 --", ""),
        ("PatientID", "", "1.1 1.2 1.3 1.4"),
        ("PatientID", "*", "1.1 1.2 1.3 1.4"),
        ("AccessionNumber", "A_2", "1.2"),
        ("AccessionNumber", "A[3]*", "1.3"),
        ("AccessionNumber", "*[3]", "1.3"),
        ("AccessionNumber", "A[0-9]*", ""),
        ("AccessionNumber", '""', "1.4"),
        ("PatientName", "doe^jane", "1.1"),
        ("PatientName", "DOE^JANE^^", "1.1"),
        ("PatientName", "Doe", ""),
        ("PatientName", "d*", "1.1"),
        ("PatientName", "*jane", "1.1"),
        ("PatientName", "muller^*", "1.2"),
        ("PatientName", "MÜLLER^JÖRG", "1.2"),
        ("PatientName", "Yamada^Tarou", "1.3"),
        ("PatientName", "*tarou", "1.3"),
        ("PatientName", "山田^太郎", "1.3"),
        ("PatientName", "山田*", "1.3"),
        ("PatientName", "Yamada^Tarou=山田^太郎", "1.3"),
        ("PatientName", "太郎", ""),
        ("StudyDate", "20240101", "1.1"),
        ("StudyDate", "2024.01.01", "1.1"),
        ("StudyDate", "20240101-20240215", "1.1 1.2"),
        ("StudyDate", "20240102-", "1.2"),
        ("StudyDate", "-20240101", "1.1 1.3"),
        ("StudyTime", "1015", "1.1"),
        ("StudyTime", "101600", "1.2"),
        ("StudyTime", "10", "1.1 1.2"),
        ("StudyTime", "10:16-2359", "1.2 1.3"),
        ("StudyTime", "-101530", "1.1"),
        ("StudyTime", "235959.5", "1.3"),
        ("StudyTime", "235959.6-", ""),
        ("StudyInstanceUID", "1.1,1.2\\1.3", "1.1 1.2 1.3"),
        ("StudyInstanceUID", "1.9", ""),
        ("ModalitiesInStudy", "CT", "1.1 1.2"),
        ("ModalitiesInStudy", "SEG\\MR", "1.2 1.3"),
        ("ModalitiesInStudy", "S*", "1.2"),
        ("ModalitiesInStudy", "C", ""),
        ("StudyDescription", "Thorax ?", "1.1 1.2 1.3 1.4"),
        ("NumberOfStudyRelatedSeries", "1", "1.1 1.2 1.3 1.4"),
        ("PatientWeight", "72.5", "1.2"),
        ("PatientComments", "x", ""),
    ],
)
def test_studies_match(catalogue: sqlite3.Connection, keyword: str, value: str, expected: str) -> None:
    assert find(catalogue, **{keyword: value}) == expected.split()


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("Modality", "CT", "1.1 1.2"),
        ("SeriesNumber", "02", "1.2"),
        ("PerformedProcedureStepStartDate", "20240101-20240131", "1.1"),
        ("RequestAttributesSequence__ScheduledProcedureStepID", "STEP2", "1.2"),
        ("RequestAttributesSequence__ScheduledProcedureStepID", "STEP", ""),
        ("Manufacturer", "AC*", "1.1 1.2 1.3 1.4"),
        ("Manufacturer", "acme", ""),
        ("OperatorsName", "op^*", "1.1 1.2 1.3 1.4"),
        ("ProtocolName", '""', "1.1 1.2 1.3 1.4"),
        ("PatientID", "P2", "1.2"),
    ],
)
def test_series_match(catalogue: sqlite3.Connection, keyword: str, value: str, expected: str) -> None:
    assert find(catalogue, Level.SERIES, **{keyword: value}) == expected.split()


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("SOPInstanceUID", "1.1.1.1", "1.1"),
        ("SOPClassUID", "1.2.840", "1.1 1.2 1.3 1.4"),
        ("InstanceNumber", "3", "1.3"),
        ("Rows", "512", "1.1 1.2 1.3 1.4"),
        ("NumberOfFrames", "2", ""),
        ("StudyDate", "-20231231", "1.3"),
    ],
)
def test_instances_match_and_conflict_versions_never_do(
    catalogue: sqlite3.Connection, keyword: str, value: str, expected: str
) -> None:
    assert find(catalogue, Level.INSTANCE, **{keyword: value}) == expected.split()


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyDate", "2024"),
        ("StudyDate", "20240230"),
        ("StudyDate", "2024*"),
        ("StudyDate", "-"),
        ("StudyDate", "20240101-20240102-20240103"),
        ("StudyTime", "25"),
        ("StudyTime", "1"),
        ("StudyInstanceUID", "1.2.*"),
        ("StudyInstanceUID", "1..2"),
        ("StudyInstanceUID", ","),
        ("NumberOfStudyRelatedSeries", "one"),
        ("Modality", "CT"),
        ("ProcedureCodeSequence", "x"),
        ("PixelData", "x"),
        ("PatientID", "x" * 1025),
    ],
)
def test_what_cannot_be_matched_is_refused(catalogue: sqlite3.Connection, keyword: str, value: str) -> None:
    with pytest.raises(QueryError, match=keyword):
        find(catalogue, **{keyword: value})


def test_pages_neither_overlap_nor_leave_gaps(catalogue: sqlite3.Connection) -> None:
    pages = [
        catalogue.execute(*statement(Query(Level.STUDY, limit=1, offset=n))).fetchall() for n in range(5)
    ]
    assert [[row[1] for row in page] for page in pages] == [["1.4"], ["1.3"], ["1.2"], ["1.1"], []]


@pytest.mark.parametrize(
    ("level", "keyword", "value", "index"),
    [
        (Level.STUDY, "PatientID", "P1", "study_patient_id"),
        (Level.STUDY, "PatientName", "DOE*", "study_patient_name"),
        (Level.STUDY, "PatientName", "DOE^J", "study_patient_name"),
        (Level.STUDY, "StudyDate", "20240101-20240102", "study_date"),
        (Level.STUDY, "AccessionNumber", "1", "study_accession_number"),
        (Level.SERIES, "SeriesInstanceUID", "1.2", "series_uid"),
        (Level.INSTANCE, "SOPInstanceUID", "1.2", "instance_uid"),
        (Level.INSTANCE, "SeriesInstanceUID", "1.2", "instance_series"),
        (Level.INSTANCE, "PatientID", "1", "instance_series"),
    ],
)
def test_an_index_is_used(
    catalogue: sqlite3.Connection, level: Level, keyword: str, value: str, index: str
) -> None:
    sql, parameters = statement(Query(level, (Match((TAGS[keyword],), value),), limit=10))
    plan = " ".join(row[3] for row in catalogue.execute("EXPLAIN QUERY PLAN " + sql, parameters))
    assert index in plan


MATCHABLE = sorted(tag for tag in TAGS.values() if level_of((tag,)))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(MATCHABLE), st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_any_value_is_answered_or_refused(catalogue: sqlite3.Connection, tag: int, value: str) -> None:
    try:
        found = statement(Query(Level.INSTANCE, (Match((tag,), value),), 10))
    except QueryError:
        return
    assert len(catalogue.execute(*found).fetchall()) <= 4
    assert value not in found[0] or len(value) < 12


@given(st.text(max_size=20))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)
