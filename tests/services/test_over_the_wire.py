"""Storage and Verification between an acceptor and a requestor of ours on the loopback address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pydicom
import pytest
from pydicom.data import get_testdata_file

from dicomwire.association.acceptor import Acceptor
from dicomwire.association.association import Association
from dicomwire.association.options import AcceptorOptions, LocalEntity
from dicomwire.association.requestor import Context, RequestorOptions, connect
from dicomwire.dimse.command import CStoreRq
from dicomwire.services import storage, verification
from dicomwire.services.instances import Instance, read_file
from dicomwire.services.sending import Delivery, Outcome, deliver
from dicomwire.uids import (
    IMPLICIT_VR_LITTLE_ENDIAN,
    STORAGE_TRANSFER_SYNTAXES,
    VERIFICATION,
    storage_sop_classes,
)
from dicomwire.upper_layer.items import AsynchronousOperationsWindow
from dicomwire.upper_layer.negotiation import AcceptorPolicy
from tests.services.fakes import CT, ReadyArchive

NAMES = (
    "CT_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "JPEG2000.dcm",
    "JPEG-lossy.dcm",
    "image_dfl.dcm",
    "reportsi.dcm",
    "J2K_pixelrep_mismatch.dcm",
)


OPTIONS = RequestorOptions()


class Node(NamedTuple):
    archive: ReadyArchive
    acceptor: Acceptor

    def connect(
        self, contexts: Sequence[Context], options: RequestorOptions = OPTIONS
    ) -> AbstractAsyncContextManager[Association]:
        return connect(
            "127.0.0.1", self.acceptor.port, called_ae_title="NODE", contexts=contexts, options=options
        )


@asynccontextmanager
async def node(
    syntaxes: tuple[str, ...] = STORAGE_TRANSFER_SYNTAXES, maximum_length: int = 262_144
) -> AsyncIterator[Node]:
    archive = ReadyArchive()
    supported = dict.fromkeys(storage_sop_classes(), syntaxes) | {VERIFICATION: (IMPLICIT_VR_LITTLE_ENDIAN,)}
    policy = AcceptorPolicy(
        supported=supported,
        maximum_length=maximum_length,
        asynchronous_operations_window=AsynchronousOperationsWindow(4, 4),
    )
    acceptor = Acceptor(
        AcceptorOptions(entities=(LocalEntity("NODE", policy),), port=0),
        {**verification.SERVICES, **storage.services(archive)},
    )
    await acceptor.start()
    try:
        yield Node(archive, acceptor)
    finally:
        await acceptor.stop(1.0)


def instances() -> list[Instance]:
    found = [read_file(Path(get_testdata_file(name))) for name in NAMES]
    assert all(isinstance(one, Instance) for one in found), found
    return [one for one in found if isinstance(one, Instance)]


def content(instance: Instance) -> bytes:
    with instance.open() as data_set:
        return bytes(data_set.view)


def even(data: bytes) -> bytes:
    """The one deflated file has an odd length, which is made even."""
    return data + b"\0" * (len(data) & 1)


async def test_echo_is_answered() -> None:
    async with (
        node() as there,
        there.connect([Context(VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))]) as association,
    ):
        assert (await verification.verify(association)).status == 0


@pytest.mark.parametrize("window", [None, (4, 1)])
@pytest.mark.parametrize("maximum_length", [8, 4_096, 262_144, 0])
async def test_files_arrive_bit_for_bit_in_their_own_syntax(
    maximum_length: int, window: tuple[int, int] | None
) -> None:
    own = instances() if maximum_length != 8 else instances()[:1]
    deliveries: list[Delivery] = []
    async with node(maximum_length=maximum_length) as there:
        await deliver(own, partial(there.connect, options=RequestorOptions(window=window)), deliveries.append)
    assert [one.outcome for one in deliveries] == [Outcome.STORED] * len(own)
    assert there.archive.stored == {one.sop_instance_uid: even(content(one)) for one in own}
    assert there.archive.syntaxes == {one.sop_instance_uid: one.transfer_syntax_uid for one in own}


async def test_peer_with_implicit_only_gets_what_is_uncompressed_with_equal_values() -> None:
    deliveries: list[Delivery] = []
    async with node((IMPLICIT_VR_LITTLE_ENDIAN,)) as there:
        await deliver(instances(), there.connect, deliveries.append)
    outcomes = {Path(one.instance.name).name: one.outcome for one in deliveries}
    compressed = {"JPEG2000.dcm", "JPEG-lossy.dcm", "J2K_pixelrep_mismatch.dcm"}
    assert {name for name, outcome in outcomes.items() if outcome is Outcome.NO_CONTEXT} == compressed
    assert {name for name, outcome in outcomes.items() if outcome is Outcome.STORED} == set(
        NAMES
    ) - compressed
    path = Path(get_testdata_file("CT_small.dcm"))
    sent = pydicom.dcmread(path)
    arrived = pydicom.dcmread(
        pydicom.filebase.DicomBytesIO(there.archive.stored[sent.SOPInstanceUID]), force=True
    )
    assert arrived.PatientName == sent.PatientName
    assert arrived.PixelData == sent.PixelData


@pytest.mark.parametrize("uid", ["../../x", "1." + "2" * 63, ""])
async def test_refused_instance_costs_nothing_but_itself(uid: str) -> None:
    async with node() as there, there.connect([Context(CT, (IMPLICIT_VR_LITTLE_ENDIAN,))]) as association:
        (number,) = association.contexts
        refused = await association.request(number, CStoreRq(0, CT, uid), [bytes(100_000)] * 10)
        assert refused.status == 0xC000
        assert refused.command.error_comment
        stored = await association.request(number, CStoreRq(0, CT, "1.2.3"), [b"data"])
        assert stored.status == 0
    assert there.archive.stored == {"1.2.3": b"data"}
