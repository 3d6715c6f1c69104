"""Profiles held against lcms, by which Pillow reads them and imagecodecs converts (ICC.1:2022)."""

from __future__ import annotations

from io import BytesIO

import imagecodecs
import numpy
import pytest
from PIL import Image, ImageCms

from dicomwire.dicom.icc import SPACES, in_jpeg, in_png, profile

PIXELS = numpy.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 10, 10]]], numpy.uint8)


@pytest.mark.parametrize("name", SPACES)
def test_a_profile_has_the_primaries_of_its_space(name: str) -> None:
    found = ImageCms.ImageCmsProfile(BytesIO(profile(name))).profile
    assert found.profile_description.strip() == SPACES[name].name
    assert found.xcolor_space.strip() == "RGB"
    adapted = numpy.array(found.chromatic_adaptation[0])
    for column, wanted in zip(
        (found.red_colorant, found.green_colorant, found.blue_colorant),
        (SPACES[name].red, SPACES[name].green, SPACES[name].blue),
        strict=True,
    ):
        xyz = numpy.linalg.inv(adapted) @ numpy.array(column[0])
        assert xyz[:2] / xyz.sum() == pytest.approx(wanted, abs=5e-4)


@pytest.mark.parametrize(
    ("name", "red"),
    # What colour calculators say of sRGB's red in these spaces
    [
        ("srgb", (255, 0, 0)),
        ("adobergb", (219, 0, 0)),
        ("displayp3", (234, 51, 35)),
        ("rommrgb", (179, 70, 26)),
    ],
)
def test_colours_keep_their_look(name: str, red: tuple[int, int, int]) -> None:
    found = imagecodecs.cms_transform(
        PIXELS, profile("srgb"), profile(name), colorspace="rgb", outcolorspace="rgb"
    )
    assert abs(found[0, 0].astype(int) - red).max() <= 1
    assert found[0, 3].tolist() == [255, 255, 255]
    back = imagecodecs.cms_transform(
        found, profile(name), profile("srgb"), colorspace="rgb", outcolorspace="rgb"
    )
    assert abs(back.astype(int) - PIXELS).max() <= 10  # steps of 8 bits at the edge of a gamut


@pytest.mark.parametrize(("kind", "put"), [("JPEG", in_jpeg), ("PNG", in_png)])
@pytest.mark.parametrize("length", [600, 150_000])
def test_files_carry_profiles_of_any_length(kind: str, put, length: int) -> None:
    out = BytesIO()
    Image.fromarray(PIXELS).save(out, kind)
    icc_profile = profile("srgb").ljust(length, b"\0")
    found = Image.open(BytesIO(put(out.getvalue(), icc_profile)))
    assert found.info["icc_profile"] == icc_profile
    assert numpy.array_equal(numpy.asarray(found), numpy.asarray(Image.open(out)))
