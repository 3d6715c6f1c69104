"""Anything at all on the port: an answer of the standard or a close, a reason in the log, and on it goes."""

from __future__ import annotations

import random
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest

from dicomwire.association.options import Timeouts
from dicomwire.dimse.codec import encode
from dicomwire.dimse.command import CEchoRq, CEchoRsp, Command, CStoreRq, NGetRq
from dicomwire.uids import VERIFICATION
from dicomwire.upper_layer import codec
from dicomwire.upper_layer.items import MaximumLength, RoleSelection, UnknownItem, UserIdentityRq
from dicomwire.upper_layer.pdu import (
    Abort,
    AssociateAc,
    AssociateRj,
    PData,
    PresentationDataValue,
    ReleaseRp,
    ReleaseRq,
)
from tests.association.support import CT, Kept, associate_rq, echo, echo_rq, listening, pdus, raw, store_rq

REQUEST = codec.encode(associate_rq())
RELEASE = codec.encode(ReleaseRq())
PDUS = [
    echo_rq(),
    store_rq(bytes(20_000)),
    REQUEST,
    RELEASE,
    b"\x42\0\0\0\0\0",
    *(codec.encode(pdu) for pdu in (ReleaseRp(), AssociateRj(1, 1, 1), Abort())),
]
COMMANDS: list[Command] = [
    CEchoRq(1, VERIFICATION),
    CEchoRsp(1, 0),
    CStoreRq(2, CT, "1.2.3"),
    NGetRq(5, CT, "1.2"),
]
LENGTHS = (b"\0\0\0\0", b"\0\0\0\1", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff")


def mutated(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(changed))
        match chance.randrange(4):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                del changed[at : at + chance.randrange(1, 20)]
            case 2:
                changed[at:at] = chance.randbytes(chance.randrange(1, 20))
            case 3:
                changed[at : at + 4] = chance.choice(LENGTHS)
        changed = changed or bytearray(b"\1")
    return bytes(changed)


def interleaved(chance: random.Random) -> bytes:
    parts = [*pdus(3, CStoreRq(2, CT, "1.2.3"), bytes(40_000)), echo_rq(), echo_rq(2)]
    chance.shuffle(parts)
    return b"".join(parts)


def any_command(chance: random.Random) -> bytes:
    data = mutated(encode(chance.choice(COMMANDS)), chance)
    return codec.encode(
        PData((PresentationDataValue(chance.choice((0, 1, 3, 7)), chance.choice((1, 2, 3, 255)), data),))
    )


def any_items(chance: random.Random) -> bytes:
    items = (
        UnknownItem(chance.randrange(0x5A, 256), chance.randbytes(chance.randrange(50))),
        UserIdentityRq(chance.randrange(7), True, chance.randbytes(40)),
        RoleSelection(CT, True, True),
        MaximumLength(chance.choice((0, 1, 7, 8, 100))),
    )
    return codec.encode(associate_rq(*chance.sample(items, chance.randrange(5))))


# What is sent before the acceptor has answered, and what after.
CASES: dict[str, Callable[[random.Random], tuple[bytes, bytes]]] = {
    "noise": lambda chance: (chance.randbytes(chance.randrange(1, 3000)), b""),
    "noise that begins like DICOM": lambda chance: (b"\1" + chance.randbytes(chance.randrange(500)), b""),
    "broken request": lambda chance: (mutated(REQUEST, chance), b""),
    "request cut off": lambda chance: (REQUEST[: chance.randrange(1, len(REQUEST))], b""),
    "request and more at once": lambda chance: (REQUEST + chance.choice(PDUS), b""),
    "odd items": lambda chance: (any_items(chance), echo_rq() + store_rq(bytes(3000)) + RELEASE),
    "noise in an association": lambda chance: (REQUEST, chance.randbytes(chance.randrange(1, 3000))),
    "broken message": lambda chance: (REQUEST, mutated(store_rq(bytes(3000)), chance) + RELEASE),
    "broken command": lambda chance: (REQUEST, any_command(chance) + echo_rq() + RELEASE),
    "interleaved messages": lambda chance: (REQUEST, interleaved(chance)),
    "PDUs in any order": lambda chance: (REQUEST, b"".join(chance.choices(PDUS, k=6))),
}


@pytest.mark.parametrize("kind", CASES)
async def test_anything_ends_in_an_answer_or_a_close_with_its_reason_logged(
    kind: str, log: list[MutableMapping[str, Any]]
) -> None:
    chance = random.Random(kind)
    services = {("*", CEchoRq): echo, ("*", CStoreRq): Kept()}
    async with listening(services, timeouts=Timeouts(linger=0.05)) as acceptor:
        for number in range(15):
            first, second = CASES[kind](chance)
            log.clear()
            async with raw(acceptor.port) as peer:
                peer.send(first)
                if second and await peer.reader.read(1):
                    peer.send(second)
                peer.writer.write_eof()
                await peer.closed()
            assert log, (kind, number)
            assert [event for event in log if event["log_level"] in ("error", "critical")] == [], (
                kind,
                number,
            )
        async with raw(acceptor.port) as peer:
            assert isinstance(await peer.associate(), AssociateAc)
            peer.send(echo_rq())
            assert (await peer.message()).status == 0  # type: ignore[attr-defined]
