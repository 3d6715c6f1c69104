"""`dicomwire proxy`: a tap between two devices that tells their story and injects faults."""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from dicomwire.cli.connection import TLSCA, TLSInsecure, TLSKey
from dicomwire.cli.explain import show_lines
from dicomwire.cli.output import Stop, escaped

if TYPE_CHECKING:
    from dicomwire.diagnose.finding import Story
    from dicomwire.doctor.proxy import ProxyOptions
    from dicomwire.doctor.script import Script

Listen = Annotated[
    str, typer.Argument(metavar="[HOST:]PORT", help="Where to listen; this machine alone without HOST.")
]
To = Annotated[str, typer.Argument(metavar="HOST:PORT", help="Whom everything is passed on to.")]
RecordFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write everything as pcapng, which `explain` reads.")
]
ScriptFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Faults to inject, TOML or JSON; see docs/doctor.md.")
]
ServerCertificate = Annotated[
    Path | None,
    typer.Option(
        "--tls-certificate",
        metavar="F",
        help="PEM file of our certificate; callers speak TLS, which ends here.",
    ),
]
TLSTarget = Annotated[bool, typer.Option("--tls-target", help="Speak TLS to the target.")]
Count = Annotated[int | None, typer.Option(min=1, metavar="N", help="End after so many connections.")]


def proxy(
    listen: Listen,
    target: To,
    *,
    record: RecordFile = None,
    script: ScriptFile = None,
    connections: Count = None,
    tls_certificate: ServerCertificate = None,
    tls_key: TLSKey = None,
    tls_target: TLSTarget = False,
    tls_ca: TLSCA = None,
    tls_insecure: TLSInsecure = False,
) -> None:
    """Stand between two devices: pass everything on, tell and record what they say, break it on request.

    Runs until it is interrupted. Exit status 2: wrong use, or a port that cannot be had.
    """
    from dicomwire.association.tls import client_context, server_context
    from dicomwire.doctor.proxy import ProxyOptions

    secured = tls_target or tls_insecure or tls_ca is not None
    host, port = _endpoint(listen, "127.0.0.1", least=0)
    target_host, target_port = _endpoint(target, "", least=1)
    options = ProxyOptions(
        host=host,
        port=port,
        target_host=target_host,
        target_port=target_port,
        tls=server_context(tls_certificate, tls_key) if tls_certificate else None,
        target_tls=client_context(
            ca=tls_ca, certificate=tls_certificate, key=tls_key, verify=not tls_insecure
        )
        if secured
        else None,
        script=_script(script),
    )
    with ExitStack() as stack:
        file = stack.enter_context(_opened(record)) if record is not None else None
        try:
            asyncio.run(_run(options, file, connections))
        except OSError as error:
            raise Stop(f"{listen}: {error.strerror or error}", 2) from None


async def _run(options: ProxyOptions, file: BinaryIO | None, connections: int | None) -> None:
    from dicomwire.diagnose.text import story_lines
    from dicomwire.diagnose.trace import HEAD
    from dicomwire.doctor.proxy import Proxy

    over = asyncio.Event()
    told = 0

    def finished(story: Story | None) -> None:
        nonlocal told
        told += 1
        if story is not None:
            show_lines(story_lines(story, told))
        if told == connections:
            over.set()

    if file is not None:
        file.write(HEAD)
    proxy = Proxy(
        options,
        record=file.write if file is not None else lambda data: None,
        tell=lambda line: print(escaped(line), flush=True),
        finished=finished,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, over.set)
    await proxy.start()
    print(
        f"listening on {options.host}:{proxy.port}, to {options.target_host}:{options.target_port}",
        flush=True,
    )
    await over.wait()
    await proxy.stop()


def _endpoint(text: str, host: str, *, least: int) -> tuple[str, int]:
    """Host and port; the host given where the text has none. Raises: Stop."""
    name, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and least <= int(port[:6]) <= 65_535):
        raise Stop(f"{text!r}: {port!r} is no port, which is a number from {least} to 65535", 2)
    if not (name or host):
        raise Stop(f"{text!r} names no host: write it HOST:PORT", 2)
    return name.strip("[]") or host, int(port)


def _script(file: Path | None) -> Script:
    from dicomwire.doctor.script import Script, read

    if file is None:
        return Script()
    try:
        return read(file.read_text("utf-8"), file.name)
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(f"{file}: {error}", 2) from None


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("wb")
    except OSError as error:
        raise Stop(f"{file}: {error.strerror}", 2) from None
