"""Each kind of matching on the index itself: four studies of one series and one instance each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomwire.archive.catalogue_writer import CatalogueWriter
from dicomwire.archive.entry import entry_of
from dicomwire.archive.names import folded
from dicomwire.archive.query import Level, Match, Query, level_of
from dicomwire.archive.search import Found, Walk
from dicomwire.archive.statement import plan
from dicomwire.archive.values import ArchiveOptions
from dicomwire.dicom.data_set import DataSet, encode
from dicomwire.dicom.dictionary import TAGS
from dicomwire.errors import QueryError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN

#          uid      patient id  name                           date        time          accession  modality
STUDIES = [
    ("1.1", "P1", "Doe^Jane", "20240101", "101530", "A1", "CT"),
    ("1.2", "P2", "Müller^Jörg", "20240215", "1016", "A_2", "CT"),
    ("1.3", "p1", "Yamada^Tarou=山田^太郎=やまだ^たろう", "20231231", "235959.5", "A[3]", "MR"),
    ("1.4", "P%", "", "", "", "", ""),
]


def instance(number: int, *, series: str = "1", modality: str | None = None) -> DataSet:
    """The one instance of a study."""
    uid, patient, name, date, time, accession, own = STUDIES[number - 1]
    request = DataSet().put("ScheduledProcedureStepID", f"STEP{number}").put("RequestedProcedureID", "X")
    other = DataSet().put("ScheduledProcedureStepID", "OTHER").put("RequestedProcedureID", f"R{number}")
    return (
        DataSet()
        .put("SOPClassUID", "1.2.840")
        .put("SOPInstanceUID", f"{uid}.{series}.1")
        .put("StudyInstanceUID", uid)
        .put("SeriesInstanceUID", f"{uid}.{series}")
        .put("PatientID", patient)
        .put("PatientName", name)
        .put("PatientSex", "F")
        .put("PatientWeight", f"7{number}.5")
        .put("StudyDate", date)
        .put("StudyTime", time)
        .put("AccessionNumber", accession)
        .put("StudyDescription", f"Thorax {number}")
        .put("Modality", own if modality is None else modality)
        .put("SeriesNumber", str(number))
        .put("Manufacturer", "ACME")
        .put("OperatorsName", "Op^A")
        .put("PerformedProcedureStepStartDate", date)
        .put("RequestAttributesSequence", request, other)
        .put("InstanceNumber", str(number))
        .put("Rows", 512)
    )


def add(catalogue: CatalogueWriter, data_set: DataSet, record_id: int, current: int = 1) -> None:
    data = encode(data_set, EXPLICIT_VR_LITTLE_ENDIAN, character_set="ISO_IR 192")
    entry = entry_of(data, EXPLICIT_VR_LITTLE_ENDIAN, ArchiveOptions())
    entry.record_id, entry.segment = record_id, 1
    with catalogue.transaction():
        catalogue.reached(1, "0000000001.seg", 0)
        catalogue.add([(entry, current)])


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CatalogueWriter]:
    """Each instance with a conflict version; the second study has another series, a SEG."""
    opened = CatalogueWriter(tmp_path_factory.mktemp("catalogue") / "catalogue.sqlite")
    for number in range(1, 5):
        add(opened, instance(number), number * 2, current=1)
        add(opened, instance(number), number * 2 + 1, current=0)
    add(opened, instance(2, series="2", modality="SEG"), 10)
    yield opened
    opened.close()


def run(catalogue: CatalogueWriter, query: Query, size: int = 3) -> list[Found]:
    walk, found = Walk(plan(query)), []
    while not walk.finished:
        with catalogue.reading(30.0) as read:
            found += walk.page(read, size)
    return found


def find(catalogue: CatalogueWriter, level: Level = Level.STUDY, **keys: str) -> list[str]:
    """UIDs of the studies of what is found; `__` stands between the keywords of a path."""
    matches = tuple(Match(tuple(TAGS[k] for k in name.split("__")), v) for name, v in keys.items())
    query = Query(level, matches, (TAGS["StudyInstanceUID"],), empty_values=True)
    return sorted(str(found.study[0]) for found in run(catalogue, query))


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
        ("StudyTime", "101600.000", "1.2"),
        ("StudyTime", "101600.0-101600.9", "1.2"),
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
        ("NumberOfStudyRelatedSeries", "1", "1.1 1.3 1.4"),
        ("PatientWeight", "72.5", "1.2"),
        ("PatientComments", "x", ""),
    ],
)
def test_studies_match(catalogue: CatalogueWriter, keyword: str, value: str, expected: str) -> None:
    assert find(catalogue, **{keyword: value}) == expected.split()


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("Modality", "CT", "1.1 1.2"),
        ("Modality", "SEG", "1.2"),
        ("SeriesNumber", "03", "1.3"),
        ("PerformedProcedureStepStartDate", "20240101-20240131", "1.1"),
        ("RequestAttributesSequence__ScheduledProcedureStepID", "STEP3", "1.3"),
        ("RequestAttributesSequence__ScheduledProcedureStepID", "STEP", ""),
        ("RequestAttributesSequence__RequestedProcedureID", "R3", "1.3"),
        ("Manufacturer", "AC*", "1.1 1.2 1.2 1.3 1.4"),
        ("Manufacturer", "acme", ""),
        ("OperatorsName", "op^*", "1.1 1.2 1.2 1.3 1.4"),
        ("ProtocolName", '""', "1.1 1.2 1.2 1.3 1.4"),
        ("PatientID", "P2", "1.2 1.2"),
    ],
)
def test_series_match(catalogue: CatalogueWriter, keyword: str, value: str, expected: str) -> None:
    assert find(catalogue, Level.SERIES, **{keyword: value}) == expected.split()


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("SOPInstanceUID", "1.1.1.1", "1.1"),
        ("SOPClassUID", "1.2.840", "1.1 1.2 1.2 1.3 1.4"),
        ("InstanceNumber", "3", "1.3"),
        ("Rows", "512", "1.1 1.2 1.2 1.3 1.4"),
        ("NumberOfFrames", "2", ""),
        ("StudyDate", "-20231231", "1.3"),
    ],
)
def test_instances_match_and_conflict_versions_never_do(
    catalogue: CatalogueWriter, keyword: str, value: str, expected: str
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
def test_what_cannot_be_matched_is_refused(catalogue: CatalogueWriter, keyword: str, value: str) -> None:
    with pytest.raises(QueryError, match=keyword):
        find(catalogue, **{keyword: value})


def test_keys_of_one_sequence_have_to_match_in_one_item(catalogue: CatalogueWriter) -> None:
    keys = {
        "RequestAttributesSequence__ScheduledProcedureStepID": "STEP3",
        "RequestAttributesSequence__RequestedProcedureID": "X",
    }
    assert find(catalogue, Level.SERIES, **keys) == ["1.3"]
    keys["RequestAttributesSequence__RequestedProcedureID"] = "R3"
    assert find(catalogue, Level.SERIES, **keys) == []


@pytest.mark.parametrize("offset", range(6))
def test_pages_neither_overlap_nor_leave_gaps(catalogue: CatalogueWriter, offset: int) -> None:
    query = Query(Level.STUDY, fields=(TAGS["StudyInstanceUID"],), limit=2, offset=offset)
    expected = ["1.4", "1.3", "1.2", "1.1"][offset : offset + 2]
    assert [found.study[0] for found in run(catalogue, query, size=1)] == expected


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("value", ["*", "A*\\?_2\\A[3]\\A1", "A1\\A_2", "A1\\A?\\A_2"])
def test_every_page_size_finds_everything_once(
    catalogue: CatalogueWriter, size: int, level: Level, value: str
) -> None:
    matches = () if value == "*" else (Match((TAGS["AccessionNumber"],), value),)
    uids = tuple(TAGS[f"{each}InstanceUID"] for each in ("Study", "Series", "SOP"))
    query = Query(max(level, Level.STUDY), matches, uids)
    whole, paged = run(catalogue, query, 1000), run(catalogue, query, size)
    assert paged == whole
    assert len(set(whole)) == len(whole)


@pytest.mark.parametrize(
    ("level", "keyword", "value", "index"),
    [
        (Level.STUDY, "PatientID", "P1", "study_patient_id"),
        (Level.STUDY, "PatientName", "DOE*", "study_patient_name_phonetic"),
        (Level.STUDY, "PatientName", "DOE^J", "study_patient_name"),
        (Level.STUDY, "StudyDate", "20240101-20240102", "study_date"),
        (Level.STUDY, "AccessionNumber", "1", "study_accession_number"),
        (Level.SERIES, "SeriesInstanceUID", "1.2", "series_uid"),
        (Level.INSTANCE, "SOPInstanceUID", "1.2", "instance_uid"),
        (Level.INSTANCE, "SeriesInstanceUID", "1.2", "instance_series"),
        (Level.INSTANCE, "PatientID", "1", "instance_series"),
    ],
)
def test_an_index_is_used_and_nothing_is_sorted(
    catalogue: CatalogueWriter, level: Level, keyword: str, value: str, index: str
) -> None:
    planned = plan(Query(level, (Match((TAGS[keyword],), value),), limit=10))
    plans = []
    for branch, each in enumerate(planned.branches):
        first = next(planned.statements(branch, None))
        later = list(planned.statements(branch, ("x",) * len(each.keys)))
        for sql, parameters in (first, *later):
            rows = catalogue.rows("EXPLAIN QUERY PLAN " + sql, (*parameters, 10, 0))
            plans.append(" ".join(str(row[3]) for row in rows))
            assert "SCAN" not in plans[-1]
    assert index in " ".join(plans)
    if level is Level.STUDY:
        assert not [each for each in plans if "TEMP B-TREE" in each]


MATCHABLE = sorted(tag for tag in TAGS.values() if level_of((tag,)))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(MATCHABLE), st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_any_value_is_answered_or_refused(catalogue: CatalogueWriter, tag: int, value: str) -> None:
    query = Query(Level.INSTANCE, (Match((tag,), value),), limit=10)
    try:
        planned = plan(query)
    except QueryError:
        return
    sql, _ = next(planned.statements(0, None))
    assert len(run(catalogue, query)) <= 5
    assert value not in sql or len(value) < 12


@given(st.text(max_size=20))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)
