"""Any query of a few studies finds what a matcher of a few lines finds that knows no SQL (PS3.4 C.2.2.2)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomwire.archive.catalogue_writer import CatalogueWriter
from dicomwire.archive.query import Level, Match, Query
from dicomwire.archive.search import Walk
from dicomwire.archive.statement import plan
from dicomwire.dicom.data_set import DataSet
from dicomwire.dicom.dictionary import TAGS
from tests.archive.test_query import add

LETTERS = "aAbBäÄ"
TEXTS = ("PatientID", "AccessionNumber", "StudyID", "StudyDescription", "PatientComments", "EthnicGroup")
NAMES = ("PatientName", "ReferringPhysicianName", "PhysiciansOfRecord")
DATES = ("StudyDate",)
DAYS = [f"2024{month:02d}{day:02d}" for month in (1, 2) for day in (1, 2, 28)]

texts = st.text("aAb1%_[]-'\u20ac", max_size=3).map(str.strip)
groups = st.text(LETTERS, min_size=1, max_size=3)
names = st.one_of(
    st.just(""),
    st.builds("^".join, st.lists(groups, min_size=1, max_size=3)),
    st.builds("{}={}".format, groups, st.sampled_from(["山田^太郎", "山^一"])),
)
studies = st.fixed_dictionaries(
    {
        **dict.fromkeys(TEXTS, texts),
        **dict.fromkeys(NAMES, names),
        "StudyDate": st.sampled_from(["", *DAYS]),
    }
)


def wild(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Values, some with an asterisk or a question mark in them."""
    cut = st.tuples(values, st.sampled_from(["", "*", "?", "**", "*?"]), values)
    return st.one_of(values, cut.map("".join))


ranges = st.one_of(
    st.sampled_from(DAYS),
    st.tuples(st.sampled_from(["", *DAYS]), st.sampled_from(["", *DAYS]))
    .filter(any)
    .map(lambda pair: f"{pair[0]}-{pair[1]}"),
)


def blurred(value: str) -> st.SearchStrategy[str]:
    """What matches a value, or nearly: another case, no accents, a wild card for some of it."""
    cut = st.integers(0, len(value))
    return st.one_of(
        st.sampled_from([value, value.upper(), value.lower(), value.translate(str.maketrans("äÄ", "aA"))]),
        cut.map(lambda at: value[:at] + "*"),
        cut.map(lambda at: "*" + value[at:]),
        cut.map(lambda at: value[:at] + "?" + value[at + 1 :]),
    )


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Some studies, and keys of which most are taken from one of them."""
    held = draw(st.lists(studies, min_size=1, max_size=5))
    one = draw(st.sampled_from(held))
    asked = {}
    for keyword in draw(st.lists(st.sampled_from([*TEXTS, *NAMES, *DATES]), max_size=3, unique=True)):
        if keyword in DATES:
            asked[keyword] = draw(ranges)
        elif keyword in NAMES:
            asked[keyword] = draw(st.one_of(blurred(one[keyword]), blurred(one[keyword]), wild(names)))
        else:
            values = st.one_of(blurred(one[keyword]), wild(texts))
            asked[keyword] = "\\".join(draw(st.lists(values, min_size=1, max_size=2)))
    return held, asked


def plain(text: str) -> str:
    """Without case, accents and empty components at the end."""
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return bare.casefold().rstrip("^ ")


def likes(value: str, pattern: str) -> bool:
    parts = ["." if c == "?" else ".*" if c == "*" else re.escape(c) for c in pattern]
    return re.fullmatch("".join(parts), value, re.DOTALL) is not None


def is_name(value: str, pattern: str) -> bool:
    having, wanted = ([plain(group) for group in text.split("=")] for text in (value, pattern))
    if len([group for group in wanted if group]) == 0:
        return True
    if len(wanted) == 1:
        return any(likes(group, wanted[0]) for group in [*having, *[""] * (3 - len(having))][:3])
    having += [""] * 3
    return all(
        likes(group, each) for group, each in zip(having, wanted, strict=False) if each not in ("", "*")
    )


def matches(study: dict[str, str], asked: dict[str, str]) -> bool:
    """Whether a study has every key."""
    for keyword, value in asked.items():
        stored = study[keyword]
        if not value.strip(" *"):
            continue
        if keyword in NAMES:
            found = is_name(stored, value)
        elif keyword in DATES:
            first, hyphen, last = value.partition("-")
            upper = last if hyphen else first
            found = bool(stored) and (first or "0") <= stored <= (upper or "9")
        else:
            several = [value] if keyword == "PatientComments" else value.split("\\")  # an LT has one value
            found = any(likes(stored, each) for each in map(str.strip, several) if each)
        if not found:
            return False
    return True


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[CatalogueWriter]:
    opened = CatalogueWriter(tmp_path / "catalogue.sqlite")
    yield opened
    opened.close()


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(questions(), st.integers(1, 4))
def test_the_index_finds_what_the_standard_says(
    catalogue: CatalogueWriter, question: tuple[list[dict[str, str]], dict[str, str]], size: int
) -> None:
    held, asked = question
    with catalogue.transaction():
        catalogue.clear()
    for number, study in enumerate(held, 1):
        uids = DataSet().put("SOPClassUID", "1.2").put("SOPInstanceUID", f"1.{number}")
        uids.put("StudyInstanceUID", f"1.{number}").put("SeriesInstanceUID", f"1.{number}")
        for keyword, value in study.items():
            uids.put(keyword, value)
        add(catalogue, uids, number)
    asked = {keyword: value for keyword, value in asked.items() if any(map(str.strip, value.split("\\")))}
    keyed = tuple(Match((TAGS[keyword],), value) for keyword, value in asked.items())
    walk = Walk(plan(Query(Level.STUDY, keyed, (TAGS["StudyInstanceUID"],))))
    found = []
    while not walk.finished:
        with catalogue.reading(30.0) as read:
            found += [str(each.study[0]) for each in walk.page(read, size)]
    expected = [f"1.{number}" for number, study in enumerate(held, 1) if matches(study, asked)]
    assert sorted(found) == expected
