"""Names as they are compared: folded, by words and by sounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.archive.names import folded, groups, sound, vocabulary, words


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Doe^Jane", "doe^jane"),
        ("DOE^JANE^^^", "doe^jane"),
        ("Müller^Jörg^^Dr.", "muller^jorg^^dr."),
        ("Ødegård^Åse", "odegard^ase"),
        ("Straße", "strasse"),
        ("Łuczak^Żaneta", "luczak^zaneta"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "yamada^tarou=山田^太郎=やまだ^たろう"),
        ("ﾔﾏﾀﾞ^ﾀﾛｳ", "ヤマダ^タロウ"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "hong^gildong=洪^吉洞=홍^길동"),
        (" Doe ^Jane = 山田 ==", "doe ^jane=山田"),
        ("ΔΙΟΝΥΣΙΟΣ", "διονυσιοσ"),
        ("", ""),
    ],
)
def test_case_accents_and_empty_ends_do_not_count(name: str, expected: str) -> None:
    assert folded(name) == expected


def test_voiced_kana_are_letters_of_their_own() -> None:
    assert folded("がき") != folded("かき")


def test_a_name_has_three_component_groups() -> None:
    assert groups("Yamada^Tarou=山田^太郎=やまだ^たろう") == ("yamada^tarou", "山田^太郎", "やまだ^たろう")
    assert groups("Doe^Jane") == ("doe^jane", "", "")
    assert groups("==やまだ") == ("", "", "やまだ")


@pytest.mark.parametrize(
    "spellings",
    [
        ("Meyer", "Maier", "Mayr", "Meier"),
        ("Smith", "Schmidt", "Smyth", "Schmitt"),
        ("Philipp", "Filip", "Phillip"),
        ("Stephen", "Steven", "Stefan"),
        ("Catherine", "Katherine"),
        ("Christina", "Kristina"),
        ("Joerg", "Jorg"),
        ("Nowak", "Novak"),
    ],
)
def test_spellings_of_one_name_sound_alike(spellings: tuple[str, ...]) -> None:
    assert len({sound(folded(each)) for each in spellings}) == 1


@pytest.mark.parametrize(("one", "other"), [("Doe", "Roe"), ("Smith", "Jones"), ("Meyer", "Beyer")])
def test_other_names_do_not(one: str, other: str) -> None:
    assert sound(folded(one)) != sound(folded(other))


def test_what_is_not_latin_or_short_has_no_sound() -> None:
    assert [sound(each) for each in ("山田", "li", "", "o1")] == ["", "", "", ""]


def test_the_words_of_a_name_are_looked_for_with_their_sounds() -> None:
    assert words("O'Brien-Smith^Seán=山田") == ["o", "brien", "smith", "sean", "山田"]
    assert vocabulary("Doe^Jane\\Roe") == " doe jane roe T JN R "
    assert vocabulary("^^") == ""


@given(st.text(max_size=30))
def test_any_text_is_a_name(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert len(groups(text)) == 3
    assert all(each.strip() == each for each in vocabulary(text).split(" "))
