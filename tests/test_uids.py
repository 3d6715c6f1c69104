"""The registry: whole, by edition, and equal to what pydicom knows of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dicomwire import uids

ROOT = Path(__file__).parents[1]
SOP_CLASS, META, TRANSFER_SYNTAX = "SOP Class", "Meta SOP Class", "Transfer Syntax"
CAME_IN_2026 = {
    "1.2.840.10008.5.1.4.1.1.2.3",
    "1.2.840.10008.5.1.4.1.1.2.4",
    "1.2.840.10008.5.1.4.1.1.2.5",
}


@pytest.fixture(scope="module")
def pydicoms() -> dict[str, list[str]]:
    """pydicom's dictionary of UIDs, from a process in which nothing else can have changed it."""
    code = "import json; from pydicom._uid_dict import UID_dictionary as d; print(json.dumps(d))"
    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)
    known: dict[str, list[str]] = json.loads(done.stdout)
    return known


def test_registry_has_323_sop_classes_and_63_transfer_syntaxes() -> None:
    assert len(uids.SOP_CLASSES) == 323
    assert len(uids.TRANSFER_SYNTAXES) == 63
    keywords = [row.keyword for row in uids.SOP_CLASSES.values() if row.keyword]
    assert len(keywords) == len(set(keywords)) == 321  # two retired rows lost name and keyword
    assert len({row.keyword for row in uids.TRANSFER_SYNTAXES.values()}) == 63


def test_every_sop_class_that_pydicom_knows_is_the_same_here(pydicoms: dict[str, list[str]]) -> None:
    theirs = {uid: row for uid, row in pydicoms.items() if row[1] in (SOP_CLASS, META)}
    assert len(theirs) == 313
    for uid, (name, kind, _, retired, keyword) in theirs.items():
        row = uids.SOP_CLASSES[uid]
        assert (row.meta, row.retired, row.keyword) == (kind == META, retired == "Retired", keyword)
        assert row.name == (name or "(Retired, nameless row)")
    newer = uids.SOP_CLASSES.keys() - theirs.keys()
    assert newer > CAME_IN_2026


def test_every_transfer_syntax_that_pydicom_knows_is_the_same_here(pydicoms: dict[str, list[str]]) -> None:
    theirs = {uid: row for uid, row in pydicoms.items() if row[1] == TRANSFER_SYNTAX}
    assert len(theirs) == 59
    for uid, (name, _, _, retired, keyword) in theirs.items():
        row = uids.TRANSFER_SYNTAXES[uid]
        assert (row.retired, row.keyword) == (retired == "Retired", keyword)
        # pydicom's names may have a remark behind a colon, and "and" for the standard's "&".
        assert name.replace(" and ", " & ").startswith(row.name.replace(" and ", " & "))


def test_properties_of_transfer_syntaxes_are_those_pydicom_works_by() -> None:
    code = """
import json, sys
from pydicom.uid import UID
print(json.dumps({uid: [UID(uid).is_implicit_VR, UID(uid).is_little_endian, UID(uid).is_deflated,
                        UID(uid).is_encapsulated] for uid in json.load(sys.stdin)}))
"""
    asked = [
        row.uid
        for row in uids.TRANSFER_SYNTAXES.values()
        # pydicom 3.0.2 takes JPIP for encapsulated, Papyrus for explicit and what is no data set for any.
        if row.explicit_vr is not None and "JPIP" not in row.name and not row.name.startswith("Papyrus")
    ]
    known = [uid for uid in asked if uid not in {f"1.2.840.10008.1.2.4.{n}" for n in (110, 111, 112)}]
    known = [uid for uid in known if uid != "1.2.840.10008.1.2.8.1"]
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        input=json.dumps(known),
        check=True,
        capture_output=True,
        text=True,
    )
    for uid, theirs in json.loads(done.stdout).items():
        row = uids.TRANSFER_SYNTAXES[uid]
        assert [not row.explicit_vr, row.little_endian, row.deflated, row.encapsulated] == theirs, row.name


def test_generated_module_is_what_the_generator_writes() -> None:
    code = "import runpy, sys; sys.stdout.write(runpy.run_path(sys.argv[1])['module']())"
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "tools" / "generate_registry.py")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == (ROOT / "src" / "dicomwire" / "_registry.py").read_text(encoding="utf-8")


def test_rows_carry_their_properties() -> None:
    ct = uids.SOP_CLASSES["1.2.840.10008.5.1.4.1.1.2"]
    assert (ct.name, ct.service_class, ct.storage, ct.iod) == (
        "CT Image Storage",
        "Storage",
        True,
        "CT Image",
    )
    assert uids.SOP_CLASSES["1.2.840.10008.5.1.1.9"].meta
    big_endian = uids.TRANSFER_SYNTAXES[uids.EXPLICIT_VR_BIG_ENDIAN]
    assert (big_endian.little_endian, big_endian.explicit_vr, big_endian.retired) == (False, True, True)
    deflated = uids.TRANSFER_SYNTAXES[uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN]
    assert (deflated.deflated, deflated.encapsulated) == (True, False)
    jpeg = uids.TRANSFER_SYNTAXES["1.2.840.10008.1.2.4.50"]
    assert (jpeg.encapsulated, jpeg.codec, jpeg.loss) == (True, "JPEG (DCT/predictive)", "lossy")
    assert uids.TRANSFER_SYNTAXES["1.2.840.10008.1.2.6.2"].explicit_vr is None


def test_storage_sop_classes_are_all_of_them_retired_ones_too() -> None:
    storage = uids.storage_sop_classes()
    assert len(storage) == sum(row.storage for row in uids.SOP_CLASSES.values()) == 215
    assert "1.2.840.10008.5.1.4.1.1.6" in storage
    assert uids.VERIFICATION not in storage


def test_stored_transfer_syntaxes_leave_out_what_no_data_set_is_stored_in() -> None:
    left_out = [
        row.name for uid, row in uids.TRANSFER_SYNTAXES.items() if uid not in uids.STORAGE_TRANSFER_SYNTAXES
    ]
    assert len(uids.STORAGE_TRANSFER_SYNTAXES) == 53
    for name in left_out:
        assert any(word in name for word in ("JPIP", "SMPTE", "MIME", "XML", "Papyrus")), name
    assert set(uids.UNCOMPRESSED_TRANSFER_SYNTAXES) < set(uids.STORAGE_TRANSFER_SYNTAXES)


def test_private_storage_sop_classes_are_valid_and_not_registered() -> None:
    assert uids.PRIVATE_STORAGE_SOP_CLASSES["1.3.12.2.1107.5.9.1"] == "Siemens CSA Non-Image Storage"
    for uid, name in uids.PRIVATE_STORAGE_SOP_CLASSES.items():
        assert uids.is_valid_uid(uid)
        assert uid not in uids.SOP_CLASSES
        assert name


def test_edition_2025_has_320_sop_classes() -> None:
    assert len(uids.search()) == len(uids.search(edition="2026")) == 323
    earlier = uids.search(edition="2025")
    assert len(earlier) == 320
    assert {row.uid for row in uids.search()} - {row.uid for row in earlier} == CAME_IN_2026
    assert uids.search(edition="2025e") == earlier
    with pytest.raises(ValueError, match="edition '1993' is unknown; known: 2025, 2026"):
        uids.search(edition="1993")


def test_search_finds_every_word_whatever_its_case_in_registry_order() -> None:
    assert [row.keyword for row in uids.search("ct ENHANCED storage", edition="2025")] == [
        "EnhancedCTImageStorage",
        "LegacyConvertedEnhancedCTImageStorage",
    ]
    assert uids.search(["Verification", "1.2.840.10008.1.1"])[0].uid == uids.VERIFICATION
    assert uids.search("no such thing") == ()
    assert [row.uid for row in uids.search_transfer_syntaxes("rle")] == ["1.2.840.10008.1.2.5"]
    assert len(uids.search_transfer_syntaxes()) == 63


def test_names_for_people_fall_back_to_the_uid() -> None:
    assert uids.name_of("1.2.840.10008.5.1.4.1.1.2") == "CT Image Storage"
    assert uids.name_of(uids.IMPLICIT_VR_LITTLE_ENDIAN) == "Implicit VR Little Endian"
    assert uids.name_of("1.3.12.2.1107.5.9.1") == "Siemens CSA Non-Image Storage"
    assert uids.name_of(uids.APPLICATION_CONTEXT) == "DICOM Application Context Name"
    assert uids.name_of("1.2.3") == "1.2.3"


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("1.2.840.10008.1.1", True),
        ("1", True),
        ("1.02.3", True),
        ("1." + "2" * 62, True),
        ("1." + "2" * 63, False),
        ("", False),
        ("1..2", False),
        (".1", False),
        ("1.", False),
        ("1.2\n", False),
        ("1.2 ", False),
        ("1.2a", False),
        ("../etc", False),
        ("\u0661.\u0662", False),
    ],
)
def test_uid_is_digits_and_dots_without_empty_components(text: str, valid: bool) -> None:
    assert uids.is_valid_uid(text) is valid


def test_own_names_fit_their_fields() -> None:
    assert uids.is_valid_uid(uids.IMPLEMENTATION_CLASS_UID)
    assert 1 <= len(uids.IMPLEMENTATION_VERSION_NAME) <= 16
