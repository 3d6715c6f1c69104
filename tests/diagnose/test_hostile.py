from __future__ import annotations

import gzip
import json
import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomwire.diagnose.decode import decode
from dicomwire.diagnose.packets import CaptureInfo, packets
from dicomwire.errors import CaptureError
from tests.diagnose.scenarios import BESIDE, SCENARIOS
from tests.diagnose.wire import told

MAGICS = [bytes.fromhex(magic) for magic in ("d4c3b2a1", "a1b2c3d4", "4d3cb2a1", "0a0d0d0a", "1f8b08")]


@given(st.sampled_from([b"", *MAGICS]), st.binary(max_size=2_000))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_explained_or_named_unreadable(magic: bytes, rest: bytes) -> None:
    explanation = told(magic + rest)
    assert explanation.exit_status in (0, 1, 2, 3)
    if explanation.error is not None:
        assert "byte" in str(explanation.error)
        assert explanation.exit_status == 2


@pytest.mark.parametrize(
    "code", ["status-out-of-resources", "move-destination-rejects", "data-set-malformed"]
)
def test_a_capture_cut_anywhere_is_told_up_to_there(code: str) -> None:
    data = SCENARIOS[code]().pcap()
    step = max(1, len(data) // 400)
    for end in [*range(200), *range(200, len(data), step)]:
        explanation = told(data[:end])
        assert explanation.stories
        assert explanation.exit_status in (1, 2, 3)


@pytest.mark.parametrize("code", sorted(SCENARIOS | BESIDE))
def test_bytes_changed_at_random_do_no_harm(code: str) -> None:
    data = bytearray((SCENARIOS | BESIDE)[code]().pcap())
    chance = random.Random(code)
    for _ in range(25):
        wrong = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            wrong[chance.randrange(24, len(wrong))] = chance.randrange(256)
        assert told(bytes(wrong)).stories
        with suppress(CaptureError):
            for record in decode([bytes(wrong)]):
                json.dumps(record)


def test_an_error_names_the_byte_and_what_is_there() -> None:
    data = SCENARIOS["tcp-refused"]().pcap()
    error = told(data[:-5]).error
    assert error is not None
    assert str(error).startswith("pcap: the file ends within frame 2: it says 54 bytes, 49 remain (at byte ")
    assert "neither pcap nor pcapng" in str(told(b"hello, world").error)
    assert "the file is empty" in str(told(b"").error)


def test_a_frame_of_absurd_length_is_an_error_and_takes_no_memory() -> None:
    head = SCENARIOS["tcp-refused"]().pcap()[:24]
    error = told(head + bytes(8) + b"\xff\xff\xff\x7f\xff\xff\xff\x7f").error
    assert error is not None
    assert "says 2147483647 bytes" in str(error)


def test_a_cut_gzip_stream_is_told_as_far_as_it_goes() -> None:
    packed = gzip.compress(SCENARIOS["status-other"]().pcap())
    assert told(packed).exit_status == 1
    cut = told(packed[:-20])
    assert cut.exit_status == 2
    assert "gzip" in str(cut.error)


def test_chunks_may_end_anywhere() -> None:
    data = SCENARIOS["move-partial"]().pcap()
    whole = list(packets([data], CaptureInfo()))
    pieces = list(packets((data[at : at + 7] for at in range(0, len(data), 7)), CaptureInfo()))
    assert [(one[0], one[1], one[2][one[3] : one[3] + one[4]]) for one in whole] == [
        (one[0], one[1], one[2][one[3] : one[3] + one[4]]) for one in pieces
    ]
    with pytest.raises(CaptureError, match="neither"):
        list(packets([b"x"], CaptureInfo()))
