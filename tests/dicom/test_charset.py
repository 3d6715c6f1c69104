"""Text in every character set of the standard, against pydicom."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import convert_encodings, decode_bytes, encode_string
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from dicomwire.dicom.charset import character_set, defined

# Specific Character Set, a name in it (PS3.5 H, I, J, K and the single-byte sets)
NAMES = [
    ("", "Smith^John"),
    ("ISO_IR 100", "Buc^Jérôme"),
    ("ISO_IR 101", "Wałęsa"),
    ("ISO_IR 109", "antaŭnomo"),
    ("ISO_IR 110", "vārds"),
    ("ISO_IR 126", "Διονυσιος"),
    ("ISO_IR 127", "قباني^لنزار"),
    ("ISO_IR 138", "שרון^דבורה"),
    ("ISO_IR 144", "Люксембург"),
    ("ISO_IR 148", "Çavuşoğlu"),
    ("ISO_IR 166", "นามสกุล"),
    ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    ("ISO_IR 192", "Wang^XiaoDong=王^小東="),
    ("GB18030", "Wang^XiaoDong=王^小东="),
    ("GBK", "Wang^XiaoDong=王^小东="),
    ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ("ISO 2022 IR 13\\ISO 2022 IR 87", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
    ("ISO 2022 IR 100\\ISO 2022 IR 144", "Люк Buc Jérôme"),
]


@pytest.mark.parametrize(("specific", "name"), NAMES, ids=[specific or "default" for specific, _ in NAMES])
def test_every_character_set_decodes_what_pydicom_encodes(specific: str, name: str) -> None:
    encodings = convert_encodings(specific.split("\\"))
    encoded = b"=".join(
        b"^".join(encode_string(part, encodings) for part in group.split("^")) for group in name.split("=")
    )
    assert character_set(specific.encode()).decode(encoded, name=True) == name


# PS3.5 H.3.2, I.2 and K.2: the byte strings printed in the standard
VECTORS = [
    (
        "ISO 2022 IR 13\\ISO 2022 IR 87",
        "d4cfc0de5ec0dbb33d1b24423b3345441b284a5e1b244242404f3a1b284a3d1b24422464245e24401b284a5e1b2442243f246d24261b284a",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    (
        "\\ISO 2022 IR 149",
        "486f6e675e47696c646f6e673d1b242943fbf35e1b242943d1ced4d73d1b242943c8ab5e1b242943b1e6b5bf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    (
        "\\ISO 2022 IR 58",
        "5a68616e675e5869616f446f6e673d1b242941d5c55e1b242941d0a1b6ab3d",
        "Zhang^XiaoDong=张^小东=",
    ),
]


@pytest.mark.parametrize(("specific", "encoded", "name"), VECTORS)
def test_the_standards_own_examples_decode(specific: str, encoded: str, name: str) -> None:
    assert character_set(specific.encode()).decode(bytes.fromhex(encoded), name=True) == name


def test_code_extensions_end_at_a_delimiter() -> None:
    decode = character_set(b"ISO 2022 IR 100\\ISO 2022 IR 144").decode
    assert decode(b"\x1b-L\xbb\\\xe9") == "Л\\é"
    assert decode(b"\x1b-L\xbb\r\n\xe9") == "Л\r\né"
    assert decode(b"\x1b-L\xbb^\xe9", name=True) == "Л^é"
    assert decode(b"\x1b-L\xbb^\xbb") == "Л^Л"


@pytest.mark.parametrize(
    ("specific", "codec"),
    [
        (b"ISO-IR 100", "latin_1"),
        (b"ISO IR 192", "utf_8"),
        (b"ISO_IR_192", "utf_8"),
        (b"UTF-8", "utf_8"),
        (b"iso_ir 101 ", "iso8859_2"),
        (b"ISO 2022-IR 87", "iso2022_jp"),
        (b"ISO_IR 192\0", "utf_8"),
    ],
)
def test_misspelt_names_are_understood(specific: bytes, codec: str) -> None:
    assert character_set(specific).codec == codec
    assert not character_set(specific).unknown


def test_an_unknown_name_is_reported_and_never_a_codec_of_pythons() -> None:
    for specific in (b"rot13", b"unicode_escape", b"idna", b"ISO_IR 9999", b"cp1252"):
        found = character_set(specific)
        assert found.codec == "latin_1"
        assert found.unknown == (specific.decode(),)


def test_only_defined_terms_are_answered_in() -> None:
    assert defined("\\ISO 2022 IR 87") == "\\ISO 2022 IR 87"
    assert defined("ISO_IR 999") == defined("ISO_IR 100\\ISO 2022 IR 999") == ""


@given(st.binary(max_size=40), st.sampled_from([specific for specific, _ in NAMES]))
def test_any_bytes_decode(value: bytes, specific: str) -> None:
    assert isinstance(character_set(specific.encode()).decode(value), str)


@given(st.text("abc é^ÄЛ山田홍길동小东", max_size=20), st.sampled_from([specific for specific, _ in NAMES]))
def test_text_equals_pydicoms(text: str, specific: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encodings = convert_encodings(specific.split("\\"))
        try:
            encoded = encode_string(text, encodings)
            theirs = decode_bytes(encoded, encodings, TEXT_VR_DELIMS | PN_DELIMS)
        except (UserWarning, UnicodeError):  # text that this character set cannot hold
            return
    assert character_set(specific.encode()).decode(encoded, name=True) == theirs


@pytest.mark.parametrize(("specific", "encoded", "name"), VECTORS)
def test_the_standards_own_examples_are_written(specific: str, encoded: str, name: str) -> None:
    assert character_set(specific.encode()).encode(name, name=True) == bytes.fromhex(encoded)


@pytest.mark.parametrize(("specific", "name"), NAMES, ids=[specific or "default" for specific, _ in NAMES])
def test_what_is_written_is_read_back_by_us_and_pydicom(specific: str, name: str) -> None:
    encoded = character_set(specific.encode()).encode(name, name=True)
    assert character_set(specific.encode()).decode(encoded, name=True) == name
    assert decode_bytes(encoded, convert_encodings(specific.split("\\")), PN_DELIMS) == name


@pytest.mark.parametrize(
    ("specific", "text", "encoded"),
    [
        ("ISO_IR 100", "Łuk", b"?uk"),
        ("", "山", b"?"),
        ("ISO 2022 IR 100\\ISO 2022 IR 144", "é Лé", b"\xe9 \x1b-L\xbb\x1b-A\xe9"),
        ("\\ISO 2022 IR 87", "山a山", b"\x1b$B;3\x1b(Ba\x1b$B;3\x1b(B"),
        ("\\ISO 2022 IR 87", "山\\Ł", b"\x1b$B;3\x1b(B\\?"),
        ("\\ISO 2022 IR 87\\ISO 2022 IR 159", "山丂", b"\x1b$B;3\x1b$(D0!\x1b(B"),
        ("ISO_IR 192\\ISO 2022 IR 87", "山", "山".encode()),
        ("ISO_IR 13", "ﾔﾏ山田", b"\xd4\xcf??"),
        ("ISO_IR 13", "¥‾", b"??"),
        ("\\ISO 2022 IR 87", "¥‾", b"??"),
        ("\\ISO 2022 IR 87", "ü山", b"?\x1b$B;3\x1b(B"),
        ("GB18030", "王€", "王€".encode("gb18030")),
    ],
)
def test_what_a_character_set_lacks_becomes_a_question_mark(specific: str, text: str, encoded: bytes) -> None:
    assert character_set(specific.encode()).encode(text) == encoded


@given(
    st.sampled_from([specific for specific, _ in NAMES]),
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20),
    st.booleans(),
)
def test_any_text_is_written_and_read_back_but_for_what_is_lacking(
    specific: str, text: str, name: bool
) -> None:
    characters = character_set(specific.encode())
    back = characters.decode(characters.encode(text, name=name), name=name)
    assert len(back) == len(text)
    assert all(here in (there, "?") for here, there in zip(back, text, strict=True))
