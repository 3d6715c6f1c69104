"""STOW-RS of metadata with bulk data (PS3.18 10.5.2)."""

from __future__ import annotations

import json
from io import BytesIO
from struct import pack

import av
import imagecodecs
import numpy
import pydicom
import pytest

from dicomwire.dicom import xml_model
from dicomwire.web import described

INSTANCE = "/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
IMAGE = numpy.arange(256, dtype=numpy.uint8).reshape(16, 16)
PIXELS = pack("<4H", 1, 2, 3, 65535)


def metadata(number: int = 1, **attributes: object) -> dict[str, object]:
    found: dict[str, object] = {
        "00080016": {"vr": "UI", "Value": [CT]},
        "00080018": {"vr": "UI", "Value": [f"1.2.3.4.{number}"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jo"}]},
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
        "0020000E": {"vr": "UI", "Value": ["1.2.3.4"]},
        "00280010": {"vr": "US", "Value": [2]},
        "00280011": {"vr": "US", "Value": [2]},
        "00280100": {"vr": "US", "Value": [16]},
        "00281050": {"vr": "DS", "Value": [1.50]},
        "7FE00010": {"vr": "OW", "BulkDataURI": f"bulk/{number}"},
    }
    return found | attributes


def part(content_type: str, body: bytes, location: str = "") -> bytes:
    lines = [f"Content-Type: {content_type}", *([f"Content-Location: {location}"] if location else [])]
    return b"\r\n--B\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def post(door, *parts: bytes, form: str = "application/dicom+json"):
    return await door.client.post(
        f"{door.base}/studies",
        content=b"".join(parts) + b"\r\n--B--\r\n",
        headers={"Content-Type": f'multipart/related; type="{form}"; boundary=B'},
    )


def described_as_json(*objects: dict[str, object]) -> bytes:
    return part("application/dicom+json", json.dumps(objects).encode())


def octets(number: int = 1, body: bytes = PIXELS) -> bytes:
    return part("application/octet-stream", body, f"bulk/{number}")


async def read(door, path: str = INSTANCE) -> pydicom.Dataset:
    response = await door.get(path, 'application/dicom; transfer-syntax="*"')
    assert response.status_code == 200, response.text
    return pydicom.dcmread(BytesIO(response.content))


@pytest.mark.parametrize("form", ["application/dicom+json", "application/dicom+xml"])
async def test_metadata_and_bulk_data_become_instances(door, form: str) -> None:
    objects = [metadata(1), metadata(2)]
    if form.endswith("json"):
        documents = [described_as_json(*objects)]
    else:
        documents = [part(form, xml_model.encode(json.dumps(each))) for each in objects]
    response = await post(door, *documents, octets(1), octets(2, PIXELS[::-1]), form=form)
    assert response.status_code == 200, response.text
    assert len(response.json()["00081199"]["Value"]) == 2
    first, second = [await read(door, INSTANCE[:-1] + number) for number in "12"]
    assert first.PixelData == PIXELS
    assert second.PixelData == PIXELS[::-1]
    assert str(first.PatientName) == "Müller^Jo"
    assert first.WindowCenter == 1.5
    assert first.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


@pytest.mark.parametrize("form", ["application/dicom+json", "application/dicom+xml"])
@pytest.mark.parametrize("type_", ['type="application/octet-stream"; ', ""])
async def test_the_first_part_says_what_comes_where_the_body_s_type_does_not(
    door, form: str, type_: str
) -> None:
    document = part(form, xml_model.encode(json.dumps(metadata())))
    if form.endswith("json"):
        document = described_as_json(metadata())
    response = await door.client.post(
        f"{door.base}/studies",
        content=document + octets() + b"\r\n--B--\r\n",
        headers={"Content-Type": f"multipart/related; {type_}boundary=B"},
    )
    assert response.status_code == 200, response.text
    assert (await read(door)).PixelData == PIXELS


@pytest.mark.parametrize(("bits", "said", "written"), [(8, "OB", "OB"), (8, "OW", "OW"), (16, "OB", "OW")])
async def test_native_pixel_data_keep_the_vr_that_metadata_say_where_it_may_be(
    door, bits: int, said: str, written: str
) -> None:
    allocated = {"00280100": {"vr": "US", "Value": [bits]}}
    pixels = {"7FE00010": {"vr": said, "BulkDataURI": "bulk/1"}}
    response = await post(door, described_as_json(metadata(**allocated, **pixels)), octets(1))
    assert response.status_code == 200, response.text
    stored = await read(door)
    assert (stored["PixelData"].VR, stored.PixelData) == (written, PIXELS)


async def test_compressed_frames_become_fragments_in_the_order_of_their_parts(door) -> None:
    syntax = "1.2.840.10008.1.2.4.80"
    parts = [part(f"image/jls; transfer-syntax={syntax}", body, f"bulk/1/frames/{number}")
             for number, body in enumerate((b"abc", b"defg"), 1)]  # fmt: skip
    frames = {"00280008": {"vr": "IS", "Value": [2]}}
    response = await post(door, described_as_json(metadata(**frames)), *parts)
    assert response.status_code == 200, response.text
    stored = await read(door)
    assert stored.file_meta.TransferSyntaxUID == syntax
    assert list(pydicom.encaps.generate_fragments(stored.PixelData)) == [b"", b"abc\0", b"defg"]


@pytest.mark.parametrize(
    ("said", "came", "words"),
    [
        (
            3,
            [part("image/jls", b"abc", f"bulk/1/frames/{number}") for number in (1, 2)],
            "parts of pixel data: 2",
        ),
        (
            1,
            [part("image/jls", b"abc", f"bulk/1/frames/{number}") for number in (1, 2)],
            "parts of pixel data: 2",
        ),
        (2, [part("image/jls", b"abc", "bulk/1")], "parts of pixel data: 1"),
        (1, [octets(1, PIXELS[:6])], "6 bytes of pixel data; 8 wanted"),
        (1, [octets(1, b"")], "0 bytes of pixel data; 8 wanted"),
        (3, [octets(1, PIXELS), octets(1, PIXELS)], "16 bytes of pixel data; 24 wanted"),
    ],
)
async def test_fewer_or_more_frames_than_metadata_tell_of_are_refused(
    door, said: int, came: list[bytes], words: str
) -> None:
    frames = {"00280008": {"vr": "IS", "Value": [said]}, "00280002": {"vr": "US", "Value": [1]}}
    response = await post(door, described_as_json(metadata(**frames)), *came)
    assert response.status_code == 409
    (failed,) = response.json()["00081198"]["Value"]
    assert words in failed["00000902"]["Value"][0]
    assert door.archive.plan(study="1.2.3") == []


@pytest.mark.parametrize(
    ("media_type", "codestream", "syntax"),
    [
        ("image/jpeg", imagecodecs.jpeg8_encode(IMAGE), "50"),
        ("image/jpeg", imagecodecs.ljpeg_encode(IMAGE), "70"),
        ("image/jpeg", b"nothing known", "70"),
        ("image/jls", imagecodecs.jpegls_encode(IMAGE), "80"),
        ("image/jls", imagecodecs.jpegls_encode(IMAGE, level=2), "81"),
        ("image/jp2", imagecodecs.jpeg2k_encode(IMAGE, codecformat="j2k", reversible=True), "90"),
        ("image/jp2", imagecodecs.jpeg2k_encode(IMAGE, codecformat="j2k", level=30, reversible=False), "91"),
        ("image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.57", imagecodecs.jpeg8_encode(IMAGE), "57"),
    ],
)
async def test_a_codestream_says_its_transfer_syntax_where_the_client_does_not(
    door, media_type: str, codestream: bytes, syntax: str
) -> None:
    response = await post(door, described_as_json(metadata()), part(media_type, codestream, "bulk/1"))
    assert response.status_code == 200, response.text
    assert (await read(door)).file_meta.TransferSyntaxUID == f"1.2.840.10008.1.2.4.{syntax}"


DEEP = IMAGE.astype(numpy.uint16) * 257
COLOUR = numpy.stack([IMAGE, IMAGE[::-1], 255 - IMAGE], -1)


@pytest.mark.parametrize(
    ("media_type", "codestream", "image", "told"),
    [
        ("image/jpeg", imagecodecs.jpeg8_encode(IMAGE), IMAGE, ("MONOCHROME2", 8, "50")),
        ("image/jpeg", imagecodecs.jpeg8_encode(COLOUR), COLOUR, ("YBR_FULL_422", 8, "50")),
        ("image/jls", imagecodecs.jpegls_encode(COLOUR), COLOUR, ("RGB", 8, "80")),
        ("image/jls", imagecodecs.jpegls_encode(DEEP), DEEP, ("MONOCHROME2", 16, "80")),
        *(
            (
                kind,
                imagecodecs.jpeg2k_encode(COLOUR, codecformat=form, reversible=True, level=0),
                COLOUR,
                told,
            )
            for kind, form, told in (
                ("image/jp2", "j2k", ("YBR_RCT", 8, "90")),
                ("image/jp2", "jp2", ("YBR_RCT", 8, "90")),
            )
        ),
        ("image/jphc", imagecodecs.htj2k_encode(IMAGE, reversible=True), IMAGE, ("MONOCHROME2", 8, "201")),
    ],
)
async def test_metadata_may_leave_the_description_of_pixels_to_the_codestream(
    door, media_type: str, codestream: bytes, image: numpy.ndarray, told: tuple[str, int, str]
) -> None:
    one = metadata()
    for tag in ("00280010", "00280011", "00280100"):
        del one[tag]
    parts = [part(media_type, codestream, f"bulk/1/frames/{number}") for number in (1, 2)]
    response = await post(door, described_as_json(one), *parts)
    assert response.status_code == 200, response.text
    stored = await read(door)
    photometric, bits, syntax = told
    assert (stored.Rows, stored.Columns, stored.NumberOfFrames) == (16, 16, 2)
    assert (stored.SamplesPerPixel, stored.PhotometricInterpretation) == (
        len(image.shape) * 2 - 3,
        photometric,
    )
    assert (stored.BitsAllocated, stored.BitsStored, stored.HighBit) == (bits, bits, bits - 1)
    assert stored.file_meta.TransferSyntaxUID == f"1.2.840.10008.1.2.4.{syntax}"
    frames = list(pydicom.encaps.generate_frames(stored.PixelData, number_of_frames=2))
    assert b"jP  " not in frames[0][:12], "no boxes of a file"
    native = (await door.get(f"{INSTANCE}/frames/1", "application/octet-stream")).content
    difference = abs(numpy.frombuffer(native, image.dtype).reshape(image.shape).astype(int) - image)
    assert difference.mean() < (40 if syntax == "50" else 1e-9)


async def test_metadata_that_contradict_the_codestream_stay_as_they_are(door) -> None:
    codestream = part("image/jls", imagecodecs.jpegls_encode(IMAGE), "bulk/1")
    await post(door, described_as_json(metadata()), codestream)
    stored = await read(door)
    assert (stored.Rows, stored.BitsAllocated) == (2, 16)
    assert "BitsStored" not in stored


async def test_other_bulk_data_stand_in_their_elements_wherever_they_are(door) -> None:
    item = {"54001010": {"vr": "OW", "BulkDataURI": "cid:wave"}}
    one = metadata(**{"54000100": {"vr": "SQ", "Value": [item]}})
    del one["7FE00010"]
    wave = b"\r\n--B\r\nContent-Type: application/octet-stream\r\nContent-ID: <wave>\r\n\r\n\1\2\3\4"
    response = await post(door, described_as_json(one), wave)
    assert response.status_code == 200, response.text
    assert (await read(door)).WaveformSequence[0].WaveformData == b"\1\2\3\4"


async def test_what_was_stored_from_metadata_gives_the_same_metadata(door) -> None:
    await post(door, described_as_json(metadata()), octets())
    (found,) = (await door.get(INSTANCE + "/metadata")).json()
    expected = metadata()
    assert {tag: each for tag, each in found.items() if tag not in ("00080005", "7FE00010")} == {
        tag: each for tag, each in expected.items() if tag != "7FE00010"
    }


async def test_a_uri_without_a_part_fails_its_instance_alone_and_is_not_fetched(door) -> None:
    elsewhere = {"7FE00010": {"vr": "OW", "BulkDataURI": "http://127.0.0.1:9/secret"}}
    response = await post(door, described_as_json(metadata(1), metadata(2, **elsewhere)), octets())
    assert response.status_code == 202
    (failed,) = response.json()["00081198"]["Value"]
    assert failed["00081155"]["Value"] == ["1.2.3.4.2"]
    assert "Content-Location" in failed["00000902"]["Value"][0]
    assert [each.sop_instance_uid for each in door.archive.plan(study="1.2.3")] == ["1.2.3.4.1"]


@pytest.mark.parametrize(
    ("parts", "status", "words"),
    [
        ([part("application/dicom+json", b"[{")], 400, "no JSON"),
        ([part("application/dicom+json", b"[" * 10_000)], 400, "no JSON"),
        ([part("application/dicom+json", b"[1]")], 400, "array of objects"),
        ([part("application/dicom+json", b"[]")], 400, "no instances"),
        ([octets()], 400, "no instances"),
        ([described_as_json(metadata()), part("application/octet-stream", b"")], 400, "Content-Location"),
        ([described_as_json(metadata()), part("text/plain", b"", "bulk/1")], 415, "text/plain"),
        ([described_as_json(metadata()), part("image/jls; transfer-syntax=1.2", b"", "bulk/1")], 415, "1.2"),
        ([described_as_json({"0008": {}})], 409, ""),
        ([described_as_json(metadata(**{"00080018": {"vr": "UI", "Value": ["../x"]}})), octets()], 409, ""),
        ([described_as_json(metadata(**{"00280010": {"vr": "US", "Value": ["x"]}})), octets()], 409, ""),
        ([described_as_json(metadata(**{"00280010": {"vr": "US", "Value": [70000]}})), octets()], 409, ""),
    ],
)  # fmt: skip
async def test_what_cannot_be_an_instance_is_refused(
    door, parts: list[bytes], status: int, words: str
) -> None:
    response = await post(door, *parts)
    assert response.status_code == status, response.text
    assert words in response.text
    assert door.archive.plan(study="1.2.3") == []


async def test_xml_with_a_document_type_is_refused(door) -> None:
    document = (
        b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><NativeDicomModel>&b;</NativeDicomModel>"
    )
    response = await post(door, part("application/dicom+xml", document), form="application/dicom+xml")
    assert response.status_code == 400
    assert "document type" in response.json()["detail"]


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("METADATA_LIMIT", 100, "more than 100 bytes"),
        ("MOST_INSTANCES", 1, "describe 2 instances; 1 at most"),
        ("MOST_PARTS", 1, "more than 1 parts"),
        ("MOST_OBJECTS", 9, "more than 9 objects"),
    ],
)
async def test_metadata_beyond_a_limit_are_413(
    door, monkeypatch: pytest.MonkeyPatch, limit: str, value: object, words: str
) -> None:
    monkeypatch.setattr(described, limit, value)
    response = await post(door, described_as_json(metadata(), metadata(2)), octets(), octets(2))
    assert response.status_code == 413
    assert words in response.json()["detail"]
    assert (await door.get("/studies", "application/dicom+json")).status_code == 204


async def test_a_broken_request_stores_nothing_of_what_it_describes(door) -> None:
    response = await door.client.post(
        f"{door.base}/studies",
        content=described_as_json(metadata()) + octets(),  # no closing boundary
        headers={"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=B'},
    )
    assert response.status_code == 400
    assert door.archive.plan(study="1.2.3") == []


@pytest.mark.parametrize(
    ("media_type", "sop_class"),
    [
        ("application/pdf", "1.2.840.10008.5.1.4.1.1.104.1"),
        ("text/XML", "1.2.840.10008.5.1.4.1.1.104.2"),
        ("model/stl", "1.2.840.10008.5.1.4.1.1.104.3"),
        ("model/obj", "1.2.840.10008.5.1.4.1.1.104.4"),
        ("model/mtl", "1.2.840.10008.5.1.4.1.1.104.5"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
async def test_an_encapsulated_document_comes_in_its_own_media_type(
    door, media_type: str, sop_class: str, named: bool
) -> None:
    body = b"%PDF-1.7 or a model of odd length."[:-1]
    one = metadata(**{"00420011": {"vr": "OB", "BulkDataURI": "doc"}})
    one["00080016"] = {"vr": "UI", "Value": [sop_class]}
    if named:
        one["00420012"] = {"vr": "LO", "Value": [media_type]}
    for tag in ("7FE00010", "00280010", "00280011", "00280100", "00281050"):
        del one[tag]
    response = await post(door, described_as_json(one), part(media_type, body, "doc"))
    assert response.status_code == 200, response.text
    stored = await read(door)
    assert stored.MIMETypeOfEncapsulatedDocument.lower() == media_type.lower()
    assert stored.EncapsulatedDocument.rstrip(b"\0") == body
    shown = await door.get(f"{INSTANCE}/rendered", media_type)
    assert (shown.status_code, shown.content) == (200, body)


async def test_a_document_in_another_media_type_than_said_is_refused(door) -> None:
    said = {"vr": "LO", "Value": ["application/pdf"]}
    one = metadata(**{"00420011": {"vr": "OB", "BulkDataURI": "doc"}, "00420012": said})
    response = await post(door, described_as_json(one), octets(), part("model/stl", b"solid ", "doc"))
    assert response.status_code == 409
    assert "MIMEType" in response.text
    assert door.archive.plan(study="1.2.3") == []


async def test_a_document_is_the_value_of_encapsulated_document_alone(door) -> None:
    response = await post(door, described_as_json(metadata()), part("application/pdf", b"%PDF", "bulk/1"))
    assert response.status_code == 409
    profile = {"00282000": {"vr": "OB", "BulkDataURI": "icc"}}
    response = await post(
        door, described_as_json(metadata(**profile)), octets(), part("application/pdf", b"%PDF", "icc")
    )
    assert response.status_code == 409
    assert door.archive.plan(study="1.2.3") == []


def film(codec: str, form: str, pixels: str = "yuv420p") -> bytes:
    out = BytesIO()
    with av.open(out, "w", format=form) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        noise = numpy.random.default_rng(1)
        for _ in range(5):
            levels = noise.integers(0, 256, (48, 64), "u1")  # a stream of some length, as readers look for
            frame = av.VideoFrame.from_ndarray(levels, format="gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


@pytest.mark.parametrize(
    ("media_type", "stream", "told"),
    [
        ("video/mpeg", ("mpeg2video", "mpegts"), ("101", 48, 64, 3, "YBR_PARTIAL_420", 8, 5)),
        ("video/mp4", ("libx264", "mp4"), ("102", 48, 64, 3, "YBR_PARTIAL_420", 8, 5)),
        ("video/mp4", ("libx264", "mpegts"), ("102", 48, 64, 3, "YBR_PARTIAL_420", 8, 5)),
        ("video/H265", ("libx265", "mp4"), ("107", 48, 64, 3, "YBR_PARTIAL_420", 8, 5)),
        (
            "video/H265; transfer-syntax=1.2.840.10008.1.2.4.108",
            ("libx265", "mp4", "yuv420p10le"),
            ("108", 48, 64, 3, "YBR_PARTIAL_420", 10, 5),
        ),
        ("image/jxl", imagecodecs.jpegxl_encode(COLOUR, lossless=True), ("110", 16, 16, 3, "RGB", 8, None)),
        (
            "image/jxl",
            imagecodecs.jpegxl_encode(DEEP, lossless=True),
            ("110", 16, 16, 1, "MONOCHROME2", 16, None),
        ),
    ],
)
async def test_a_video_or_a_jpeg_xl_image_says_what_the_metadata_leave_out(
    door, media_type: str, stream: tuple[str, ...] | bytes, told: tuple[object, ...]
) -> None:
    body = stream if isinstance(stream, bytes) else film(*stream)
    one = metadata()
    for tag in ("00280010", "00280011", "00280100"):
        del one[tag]
    response = await post(door, described_as_json(one), part(media_type, body, "bulk/1"))
    assert response.status_code == 200, response.text
    stored = await read(door)
    assert stored.file_meta.TransferSyntaxUID == f"1.2.840.10008.1.2.4.{told[0]}"
    assert (
        *(stored.Rows, stored.Columns, stored.SamplesPerPixel, stored.PhotometricInterpretation),
        *(stored.BitsStored, stored.get("NumberOfFrames")),
    ) == told[1:]
    assert (stored.BitsAllocated, stored.HighBit) == (8 if told[5] == 8 else 16, told[5] - 1)
    _, stored_stream = pydicom.encaps.generate_fragments(stored.PixelData)  # behind an empty offset table
    assert stored_stream[: len(body)] == body


async def test_a_video_that_cannot_be_read_stays_as_it_came(door) -> None:
    response = await post(door, described_as_json(metadata()), part("video/mp4", b"no video", "bulk/1"))
    assert response.status_code == 200, response.text
    assert "SamplesPerPixel" not in await read(door)


@pytest.mark.parametrize(
    ("named", "name", "kept"),
    [
        (None, "Doe^Jo", None),
        (None, "Müller^Jo", "ISO_IR 192"),
        ("ISO_IR 192", "Doe^Jo", "ISO_IR 192"),
        ("ISO_IR 100", "Müller^Jo", "ISO_IR 100"),
        ("ISO_IR 100", "Жданов^Илья", "ISO_IR 192"),
    ],
)
async def test_the_character_set_of_metadata_stays_where_it_can_say_the_text(
    door, named: str | None, name: str, kept: str | None
) -> None:
    attributes = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]}}
    if named is not None:
        attributes["00080005"] = {"vr": "CS", "Value": [named]}
    assert (await post(door, described_as_json(metadata(**attributes)), octets())).status_code == 200
    stored = await read(door)
    assert stored.get("SpecificCharacterSet") == kept
    assert str(stored.PatientName) == name


async def test_text_behind_the_pixels_is_in_the_same_character_set(door) -> None:
    attributes = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jo"}]},
        "7FE30010": {"vr": "LO", "Value": ["Röntgen"]},
    }
    assert (await post(door, described_as_json(metadata(**attributes)), octets())).status_code == 200
    stored = await read(door)
    assert stored[0x7FE30010].value == "Röntgen"
    assert [element.tag for element in stored].count(0x00080005) == 1
    raw = (await door.get(INSTANCE, 'application/dicom; transfer-syntax="*"')).content
    assert raw.index(b"\x08\x00\x05\x00CS") < raw.index(b"\xe0\x7f\x10\x00OW")
