"""`dicomwire echo`: is a peer there, and does it speak DICOM? (PS3.4 A)"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated

import typer

from dicomwire.cli.address import Address
from dicomwire.cli.connection import Asked, Flags, Peer, accepted
from dicomwire.cli.output import Json, Stop, Verbose, escaped, log_to_stderr, show_json
from dicomwire.dimse import status
from dicomwire.uids import UNCOMPRESSED_TRANSFER_SYNTAXES, VERIFICATION

Count = Annotated[int, typer.Option(min=1, max=1_000_000, help="C-ECHO requests to send.")]


@dataclass(frozen=True, slots=True)
class Echoed:
    """What a peer answered.

    Attributes:
        statuses: of the C-ECHO responses, in order.
        seconds: until the association was there, and of each C-ECHO.
    """

    peer: Address
    statuses: tuple[int, ...]
    association_seconds: float
    seconds: tuple[float, ...]
    implementation_class_uid: str
    implementation_version_name: str
    maximum_length: int


@accepted
def echo(
    peer: Asked,
    *,
    count: Count = 1,
    flags: Flags,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Ask a peer whether it is there: C-ECHO. Exit status 0: it is; 1: it is not, or it refuses."""
    log_to_stderr(verbose=verbose)
    echoed = asyncio.run(_echo(flags.peer(peer), count))
    failed = next((code for code in echoed.statuses if code != status.SUCCESS), None)
    if as_json:
        show_json(_facts(echoed))
    elif failed is None:
        _tell(echoed, verbose=verbose)
    if failed is not None:
        raise Stop(f"{echoed.peer} answered {status.words(status.ECHO, failed)}", 1)


async def _echo(peer: Peer, count: int) -> Echoed:
    from dicomwire.association.requestor import Context
    from dicomwire.services.verification import verify

    began = perf_counter()
    async with peer.connect([Context(VERIFICATION, UNCOMPRESSED_TRANSFER_SYNTAXES)]) as association:
        associated = perf_counter() - began
        statuses, seconds = [], []
        for _ in range(count):
            asked = perf_counter()
            statuses.append((await verify(association)).status)
            seconds.append(perf_counter() - asked)
        return Echoed(
            peer.address,
            tuple(statuses),
            associated,
            tuple(seconds),
            association.implementation_class_uid,
            association.implementation_version_name,
            association.agreement.maximum_length,
        )


def _tell(echoed: Echoed, *, verbose: bool) -> None:
    best = min(echoed.seconds) * 1000
    name = escaped(echoed.implementation_version_name or echoed.implementation_class_uid or "unnamed")
    times = f", {len(echoed.seconds)} times" if len(echoed.seconds) > 1 else ""
    print(f"{echoed.peer} is there ({name}): C-ECHO answered in {best:.1f} ms{times}")
    if verbose:
        print(f"association            {echoed.association_seconds * 1000:.1f} ms")
        print(f"implementation class   {escaped(echoed.implementation_class_uid)}")
        print(f"maximum length         {echoed.maximum_length or 'unlimited'}")


def _facts(echoed: Echoed) -> dict[str, object]:
    return {
        "peer": str(echoed.peer),
        "ok": all(code == status.SUCCESS for code in echoed.statuses),
        "statuses": [f"{code:04X}" for code in echoed.statuses],
        "association_milliseconds": round(echoed.association_seconds * 1000, 3),
        "milliseconds": [round(seconds * 1000, 3) for seconds in echoed.seconds],
        "implementation_class_uid": echoed.implementation_class_uid,
        "implementation_version_name": echoed.implementation_version_name,
        "maximum_length": echoed.maximum_length,
    }
