"""The data dictionary against pydicom's (PS3.6)."""

from __future__ import annotations

import pytest
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_keyword, dictionary_VR
from pydicom.uid import UID_dictionary

from dicomwire.dicom.dictionary import TAGS, keyword_of, tag_text, vr_of
from dicomwire.dicom.encoding import VRS


def test_every_element_has_pydicoms_vr_and_keyword() -> None:
    assert UID_dictionary
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if vr != "NONE":
            assert (vr_of(tag), keyword_of(tag)) == (vr, keyword), tag_text(tag)
            assert not keyword or TAGS[keyword] == tag
            assert set(vr.split(" or ")) <= VRS


@pytest.mark.parametrize(
    "tag", [0x60003000, 0x60020010, 0x50001001, 0x00203100, 0x00280400, 0x7F000010, 0x10100001]
)
def test_repeating_groups_have_pydicoms_vr(tag: int) -> None:
    assert (vr_of(tag), keyword_of(tag)) == (dictionary_VR(tag), dictionary_keyword(tag))


def test_private_and_unknown_elements_are_unknown_but_for_creators_and_group_lengths() -> None:
    assert [vr_of(tag) for tag in (0x00090010, 0x00091010, 0x00090000, 0x00080000, 0x00080FFF)] == [
        *("LO", "UN", "UL", "UL", "UN")
    ]
    assert keyword_of(0x00091010) == ""
