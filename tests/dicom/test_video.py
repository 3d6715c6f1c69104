"""Frames of videos, decoded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy
import pytest

from dicomwire.dicom.video import Stream, Video
from dicomwire.errors import TranscodingError
from tests.dicom.films import COLUMNS, FRAMES, H264, ROWS, film, fragments, image, level

AHEAD = (1, 2, 24, 25, 26, 40, 59, 60)


def video(stream: bytes, **more: int) -> Video:
    half = len(stream) // 4 * 2
    return Video(image(**more) + fragments(stream[:half], stream[half:]), H264)


def shown(one: Video, number: int) -> float:
    cells, photometric = one.cells(number)
    assert cells.shape == (ROWS, COLUMNS, 3)
    assert photometric == "RGB"
    return float(numpy.mean(cells))


@pytest.mark.parametrize(
    ("codec", "container", "pixels"),
    [
        ("mpeg2video", "mpegts", "yuv420p"),
        ("mpeg2video", "vob", "yuv420p"),
        ("mpeg2video", "mpeg2video", "yuv420p"),
        ("libx264", "mp4", "yuv420p"),
        ("libx264", "mpegts", "yuv420p"),
        ("libx264", "h264", "yuv420p"),
        ("libx265", "mp4", "yuv420p"),
        ("libx265", "mpegts", "yuv420p10le"),
        ("libx265", "hevc", "yuv420p10le"),
    ],
)
def test_each_frame_of_each_codec_and_container_is_found(codec: str, container: str, pixels: str) -> None:
    stream = film(codec, container, pixels)
    for number in AHEAD:
        assert shown(video(stream), number) == pytest.approx(level(number), abs=3)
    one = video(stream)
    for number in (*AHEAD, *reversed(AHEAD)):
        assert shown(one, number) == pytest.approx(level(number), abs=3), "one after the other, and back"


def test_the_order_is_that_in_which_frames_are_shown() -> None:
    reordered = film("libx264", "mp4", **{"x264-params": "bframes=3:b-adapt=0:open-gop=1:keyint=20"})
    broadcast = film("libx264", "mp4", rate=Fraction(30000, 1001))
    for stream in (reordered, broadcast):
        for number in range(1, FRAMES + 1):
            assert shown(video(stream), number) == pytest.approx(level(number), abs=3)


def test_frames_that_do_not_come_at_one_rate_are_counted() -> None:
    times = [number + 20 * (number // 7) for number in range(FRAMES)]
    stream = film("libx264", "mp4", times=times)
    for number in AHEAD:
        assert shown(video(stream), number) == pytest.approx(level(number), abs=3)


def test_no_more_is_decoded_than_from_the_key_frame_on() -> None:
    """What is broken before it does not matter."""
    stream = bytearray(film("libx264", "mp4"))
    start = stream.index(b"mdat") + 4
    stream[start + 40 : start + 1000] = b"\xff" * 960  # most of the frames before the second key frame
    with pytest.raises(TranscodingError, match="Invalid data"):
        video(bytes(stream)).cells(20)
    assert shown(video(bytes(stream)), 60) == pytest.approx(level(60), abs=3)


@pytest.mark.parametrize(("rows", "colours"), [(576, "ITU601"), (720, "ITU709")])
def test_colours_that_are_not_told_are_those_of_their_size(rows: int, colours: str) -> None:
    colour = numpy.empty((rows, COLUMNS, 3), "u1")
    colour[:] = 180, 60, 90

    def picture(_: int) -> av.VideoFrame:
        frame = av.VideoFrame.from_ndarray(colour, format="rgb24")
        coded = frame.reformat(format="yuv420p", dst_colorspace=colours)
        coded.colorspace = 2  # unspecified
        return coded

    cells, _ = video(film(count=2, picture=picture), rows=rows, frames=2).cells(1)
    assert abs(cells.astype(int) - colour).max() <= 3


def test_a_size_other_than_the_data_set_s_is_an_error() -> None:
    with pytest.raises(TranscodingError, match=f"{ROWS} rows, {COLUMNS} columns; the data set says 48, 66"):
        video(film(), columns=66).cells(1)


def test_a_frame_behind_the_last_one_is_an_error() -> None:
    one = video(film(), frames=100)
    with pytest.raises(TranscodingError, match="no frame 61"):
        one.cells(61)
    assert shown(one, 60) == pytest.approx(level(60), abs=3)


@pytest.mark.parametrize(
    "damage",
    [
        lambda stream: b"",
        lambda stream: b"no film at all, but some bytes" * 9,
        lambda stream: stream[: len(stream) // 2],
        lambda stream: stream[:-900] + bytes(900),
    ],
)
@pytest.mark.parametrize("container", ["mp4", "h264", "mpegts"])
def test_any_damage_is_an_error_or_a_frame(container: str, damage: Callable[[bytes], bytes]) -> None:
    for number in (1, 60):
        one = video(damage(film("libx264", container)))
        with suppress(TranscodingError):
            one.cells(number)


def test_a_codec_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(TranscodingError, match="nothing here decodes it"):
        video(film().replace(b"avc1", b"zzzz")).cells(1)


def test_a_playlist_does_not_make_the_reader_open_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.ts").write_bytes(film("libx264", "mpegts"))
    playlist = b"ffconcat version 1.0\nfile other.ts\n"
    with pytest.raises(TranscodingError):
        video(playlist).cells(1)


def test_the_pieces_of_a_stream_are_read_as_one_file() -> None:
    data = bytes(range(100))
    stream = Stream(lambda start, length: data[start : start + length], ((10, 5), (40, 1), (50, 20)))
    whole = data[10:15] + data[40:41] + data[50:70]
    assert stream.read() == whole
    assert stream.read(5) == b""
    for start in range(len(whole) + 2):
        for size in (0, 1, 5, 7, 30):
            assert stream.seek(start) == stream.tell() == start
            assert stream.read(size) == whole[start : start + size]
    assert stream.seek(-3, 2) == 23
    assert stream.seek(-1, 1) == 22
