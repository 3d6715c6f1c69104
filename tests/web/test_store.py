"""STOW-RS over a real port."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from dicomwire.dicom.data_set import from_xml
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.web.options import WebOptions
from tests.web.support import parts

CT = "1.2.840.10008.5.1.4.1.1.2"
RELATED = 'multipart/related; type="application/dicom"; boundary="B"'


def reasons(response, sequence: str = "00081198") -> list[int]:
    return [item["00081197"]["Value"][0] for item in response.json()[sequence]["Value"]]


async def test_instances_are_stored_and_the_response_says_where(door, make_instance) -> None:
    response = await door.store(make_instance(1), make_instance(2))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/dicom+json"
    body = response.json()
    assert body["00081190"]["Value"] == [f"{door.base}/studies/1.2.3"]
    assert "00081198" not in body
    first, second = body["00081199"]["Value"]
    assert first["00081150"]["Value"] == [CT]
    assert second["00081155"]["Value"] == ["1.2.3.4.2"]
    assert second["00081190"]["Value"] == [f"{door.base}/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.2"]


async def test_a_single_part_body_is_taken(door, make_instance) -> None:
    url = f"{door.base}/studies"
    headers = {"Content-Type": "application/dicom"}
    response = await door.client.post(url, content=make_instance().file, headers=headers)
    assert response.status_code == 200
    assert len(door.archive.plan(study="1.2.3")) == 1


async def test_instances_of_two_studies_have_no_common_url(door, make_instance) -> None:
    response = await door.store(make_instance(1), make_instance(2, study="1.2.9"))
    assert response.status_code == 200
    assert response.json()["00081190"] == {"vr": "UR"}


async def test_the_same_instance_again_is_success(door, make_instance) -> None:
    for _ in range(2):
        response = await door.store(make_instance())
        assert response.status_code == 200
    assert len(door.archive.plan(study="1.2.3")) == 1


async def test_other_content_under_the_same_uid_is_a_warning(door, make_instance) -> None:
    await door.store(make_instance())
    response = await door.store(make_instance(frames=(b"x" * 8,)))
    assert response.status_code == 202
    assert response.json()["00081199"]["Value"][0]["00081196"]["Value"] == [0xB000]


async def test_a_conflicting_version_has_no_url(door, make_instance) -> None:
    """Its URL would lead to the version before it, or to nothing."""
    await door.store(make_instance())
    other = make_instance(study="2.5", series="2.5.1", uid="1.2.3.4.1")
    response = await door.store(other)
    assert response.status_code == 202
    (item,) = response.json()["00081199"]["Value"]
    assert item["00081190"] == {"vr": "UR"}  # type 2: there, and empty
    assert "Value" not in response.json()["00081190"]
    assert "location" not in response.headers
    both = await door.store(make_instance(2), other)
    assert both.headers["location"].endswith("/instances/1.2.3.4.2")


async def test_the_study_of_the_url_is_the_only_one_taken(door, make_instance) -> None:
    response = await door.store(make_instance(1), make_instance(2, study="1.2.9"), study="1.2.3")
    assert response.status_code == 202
    assert reasons(response) == [0xA901]
    assert door.archive.plan(study="1.2.9") == []
    assert (await door.store(make_instance(3), study="1.2.77")).status_code == 409


async def test_a_uid_in_the_file_meta_that_differs_gives_way_to_the_data_set(door, make_instance) -> None:
    assert (await door.store(make_instance(meta_uid="9.9.9"))).status_code == 200
    assert [stored.sop_instance_uid for stored in door.archive.plan(study="1.2.3")] == ["1.2.3.4.1"]


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"sop_class": "1.2.840.10008.1.3.10"}, 0x0122, "DICOMDIR"),
        ({"sop_class": "1.2.840.10008.1.1"}, 0x0122, "Verification"),
        ({"sop_class": "1.2.3.4.5"}, 0x0122, "1.2.3.4.5"),
        ({"meta_class": "1.2.840.10008.5.1.4.1.1.4"}, 0xA900, ""),
        ({"sop_class": "", "meta_class": ""}, 0xC000, "SOPClassUID"),
        ({"study": ""}, 0xC000, "Study"),
        ({"series": "", "uid": "1.2.3.4.5"}, 0xC000, "Series"),
        ({"study": "../../etc"}, 0xC000, ""),
        ({"extra": b"\x30\x00\x01\x00LO\xff\xff"}, 0xC000, ""),
    ],
)
async def test_an_instance_that_cannot_be_is_refused_with_a_reason(
    door, make_instance, changes: dict[str, str], reason: int, words: str
) -> None:
    response = await door.store(make_instance(**changes), make_instance(7, study="1.2.9"))
    assert response.status_code == 202
    assert reasons(response) == [reason]
    (item,) = response.json()["00081198"]["Value"]
    comment = item["00000902"]["Value"][0]
    assert words in comment
    assert 0 < len(comment) <= 64
    assert len(door.archive.plan(study="1.2.9")) == 1
    assert door.archive.plan(study="1.2.3") == []


@pytest.mark.parametrize("uid", ["../../../etc/passwd", "1" * 65, "1..2", "a", "1.2."])
async def test_a_uid_that_is_none_is_refused(door, make_instance, uid: str) -> None:
    response = await door.store(make_instance(uid=uid))
    assert response.status_code == 409
    assert reasons(response, "0008119A") == [0xC000]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"not DICOM at all" * 20,
        bytes(4096),
        b"\0" * 128 + b"DICM",
        b"%PDF-1.7\n" * 100,
        b"\xff" * 200_000,
    ],
)
async def test_a_part_that_is_no_dicom_file_is_refused(door, data: bytes) -> None:
    response = await door.store(data)
    assert response.status_code == 409
    assert reasons(response, "0008119A") == [0xC000]


async def test_an_instance_cut_inside_an_element_is_refused(door, make_instance) -> None:
    instance = make_instance()
    head = len(instance.meta)
    response = await door.store(
        *(instance.file[:cut] for cut in range(0, head, 5)),
        *(instance.file[:cut] for cut in range(len(instance.file) - 19, len(instance.file))),
    )
    assert response.status_code == 409
    assert door.archive.plan(study="1.2.3") == []


async def test_an_unknown_transfer_syntax_is_refused(door, make_instance) -> None:
    instance = make_instance()
    response = await door.store(write_file_meta(CT, instance.sop_instance_uid, "1.2.3") + instance.data_set)
    assert response.status_code == 409
    assert reasons(response) == [0xC122]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("", 415),
        ("text/plain", 415),
        ("application/dicom+json", 415),
        ("multipart/form-data; boundary=B", 415),
        ('multipart/related; type="text/xml"; boundary=B', 415),
        ("multipart/related; type=application/dicom", 400),
        ("multipart/related; type=application/dicom; boundary=other", 400),
        ("garbage", 400),
        (";;;", 400),
    ],
)
async def test_content_types_that_are_not_taken(door, make_instance, content_type: str, status: int) -> None:
    body = b"\r\n--B\r\n\r\n" + make_instance().file + b"\r\n--B--"
    response = await door.client.post(
        f"{door.base}/studies", content=body, headers={"Content-Type": content_type} if content_type else {}
    )
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    assert response.json()["detail"]


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/related; type=application/dicom; boundary=B",
        'multipart/related; boundary="B"; type="application/dicom"; start="x"',
        "multipart/related;boundary=B",
        'Multipart/Related; Type="Application/DICOM"; Boundary=B',
        'multipart/related; type="application/dicom; transfer-syntax=1.2.840.10008.1.2.1"; boundary=B',
    ],
)
@pytest.mark.parametrize(
    "header", [b"", b"Content-Type: application/dicom\r\n", b"content-type:application/octet-stream\r\n"]
)
async def test_content_types_that_are_taken(door, make_instance, content_type: str, header: bytes) -> None:
    body = b"--B\r\n" + header + b"\r\n" + make_instance().file + b"\r\n--B--"
    headers = {"Content-Type": content_type}
    response = await door.client.post(f"{door.base}/studies", content=body, headers=headers)
    assert response.status_code == 200


async def test_a_part_of_another_media_type_is_refused_and_the_next_stored(door, make_instance) -> None:
    body = (
        b"--B\r\nContent-Type: text/plain\r\n\r\nhello\r\n--B\r\n\r\n" + make_instance().file + b"\r\n--B--"
    )
    response = await door.client.post(f"{door.base}/studies", content=body, headers={"Content-Type": RELATED})
    assert response.status_code == 202
    assert reasons(response, "0008119A") == [0xC000]


@pytest.mark.parametrize(
    "body", [b"", b"--B--", b"--B\r\n", b"--B\r\n\r\nabc", b"abc", b"--B\r\nbad header\r\n\r\n"]
)
async def test_malformed_bodies_are_400(door, body: bytes) -> None:
    response = await door.client.post(f"{door.base}/studies", content=body, headers={"Content-Type": RELATED})
    assert response.status_code == 400


async def test_what_was_complete_before_a_body_broke_off_stays(door, make_instance) -> None:
    body = b"--B\r\n\r\n" + make_instance(1).file + b"\r\n--B\r\n\r\n" + make_instance(2).file
    response = await door.client.post(f"{door.base}/studies", content=body, headers={"Content-Type": RELATED})
    assert response.status_code == 400
    assert "of the 1 instances before it 1 are stored" in response.json()["detail"]
    assert [stored.sop_instance_uid for stored in door.archive.plan(study="1.2.3")] == ["1.2.3.4.1"]


async def test_a_client_that_goes_away_leaves_what_was_complete(door, make_instance) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", door.port)
    body = b"--B\r\n\r\n" + make_instance(1).file + b"\r\n--B\r\n\r\n" + make_instance(2).file
    writer.write(
        f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {RELATED}\r\n".encode()
        + b"Content-Length: 1000000\r\n\r\n"
        + body
    )
    await writer.drain()
    async with asyncio.timeout(10):
        while len(door.archive.plan(study="1.2.3")) < 2:
            assert (await door.store(make_instance(3))).status_code == 200
    writer.close()
    await writer.wait_closed()
    assert (await door.store(make_instance(3))).status_code == 200
    assert sorted(s.sop_instance_uid for s in door.archive.plan(study="1.2.3")) == ["1.2.3.4.1", "1.2.3.4.3"]


async def test_an_answer_that_cannot_be_given_is_refused_before_anything_is_stored(
    door, make_instance
) -> None:
    response = await door.client.post(
        f"{door.base}/studies",
        content=make_instance().file,
        headers={"Content-Type": "application/dicom", "Accept": "text/html"},
    )
    assert response.status_code == 406
    assert door.archive.plan(study="1.2.3") == []


async def test_the_response_is_xml_where_that_is_wanted(door, make_instance) -> None:
    response = await door.client.post(
        f"{door.base}/studies",
        content=make_instance().file,
        headers={"Content-Type": "application/dicom", "Accept": "application/dicom+xml"},
    )
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/dicom+xml"
    assert from_xml(response.content).sequence("ReferencedSOPSequence")[0].text(
        "ReferencedSOPInstanceUID"
    ) == ("1.2.3.4.1")


async def test_the_response_is_a_part_of_xml_where_that_is_wanted(door, make_instance) -> None:
    accept = 'multipart/related; type="application/dicom+xml"'
    for wanted in (accept, f"application/dicom+json;q=0.1, {accept};q=0.9"):
        response = await door.client.post(
            f"{door.base}/studies",
            content=make_instance().file,
            headers={"Content-Type": "application/dicom", "Accept": wanted},
        )
        assert response.status_code == 200
        assert response.headers["content-type"].startswith(f"{accept}; boundary=")
        ((head, body),) = parts(response)
        assert head["content-type"] == "application/dicom+xml"
        (stored,) = from_xml(body).sequence("ReferencedSOPSequence")
        assert stored.text("ReferencedSOPInstanceUID") == "1.2.3.4.1"


async def test_an_encoded_body_is_415(door, make_instance) -> None:
    headers = {"Content-Type": "application/dicom", "Content-Encoding": "gzip"}
    response = await door.client.post(f"{door.base}/studies", content=b"x", headers=headers)
    assert response.status_code == 415


async def test_a_bad_study_uid_in_the_url_is_400(door, make_instance) -> None:
    response = await door.store(make_instance(), study="..%2F..%2Fetc")
    assert response.status_code == 400
    assert "study UID" in response.json()["detail"]


class TestLimits:
    @pytest.fixture
    def web_options(self) -> WebOptions:
        return WebOptions(progress_timeout=0.3, maximum_body=4096, maximum_instances=2)

    async def test_one_part_too_many_is_413_and_those_before_stay(self, door, make_instance) -> None:
        response = await door.store(*(make_instance(number) for number in range(1, 4)))
        assert response.status_code == 413
        assert len(door.archive.plan(study="1.2.3")) == 2

    async def test_a_body_too_long_is_413_by_its_content_length(self, door) -> None:
        assert (await door.store(bytes(5000))).status_code == 413

    async def test_a_body_too_long_is_413_when_chunked(self, door) -> None:
        async def body():
            for _ in range(10):
                yield bytes(1000)

        headers = {"Content-Type": "application/dicom"}
        response = await door.client.post(f"{door.base}/studies", content=body(), headers=headers)
        assert response.status_code == 413

    async def test_a_body_that_does_not_come_is_408(self, door) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(
            b"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: application/dicom\r\n"
            b"Content-Length: 4000\r\n\r\nabc"
        )
        async with asyncio.timeout(10):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"3 bytes came" in answer
        writer.close()
        await writer.wait_closed()


async def test_a_file_that_is_a_tiff_as_well_stays_one_where_the_option_says_so(door, make_instance) -> None:
    instance = make_instance()
    file = b"II*\0" + instance.file[4:]
    headers = {"Content-Type": "application/dicom"}
    for option, first in (("zero", bytes(4)), ("keep", b"II*\0")):
        door.archive.options = replace(door.archive.options, preamble=option)
        assert (await door.client.post(f"{door.base}/studies", content=file, headers=headers)).is_success
        plan = door.archive.plan(study="1.2.3")
        with door.archive.open_stored(plan[0]) as stored:
            assert bytes(stored.view[:4]) == first
        door.archive.remove(plan)


async def test_headers_say_where_what_was_stored_is(door, make_instance) -> None:
    instance = "/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4."
    for files, expected in (
        ([make_instance(1)], instance + "1"),
        ([make_instance(2), make_instance(3)], "/studies/1.2.3"),
        ([make_instance(4), make_instance(study="2.5", series="2.5.1")], "/studies"),
        ([make_instance(5), make_instance(6, sop_class="")], instance + "5"),
    ):
        response = await door.store(*files)
        assert response.headers["location"] == door.base + expected
        assert response.headers["content-location"] == door.base + expected
    refused = await door.store(make_instance(7, sop_class=""))
    assert refused.status_code == 409
    assert "location" not in refused.headers
