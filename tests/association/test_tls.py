"""TLS: contexts, the stream without I/O, and associations over it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from dicomwire.association.options import ProxyProtocol, RequestorOptions, Timeouts
from dicomwire.association.requestor import connect
from dicomwire.association.tls import Stream, client_context, server_context
from dicomwire.dimse.command import CEchoRq, CStoreRq
from dicomwire.errors import AssociationError, ConfigurationError, TLSFailed
from dicomwire.uids import VERIFICATION
from tests.association.support import (
    CONTEXTS,
    CT,
    CT_ID,
    ECHO_ID,
    SOON,
    Kept,
    associate_rq,
    echo,
    listening,
    raw,
)

Log = list[MutableMapping[str, Any]]


class Files:
    """PEM files of one authority and of two certificates that it signed."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        self.server = self._issue(authority, folder / "server.pem", "localhost", "127.0.0.1")
        self.client = self._issue(authority, folder / "client.pem", "client")

    @staticmethod
    def _issue(authority: trustme.CA, path: Path, *names: str) -> Path:
        authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(path)
        return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


def carry(source: Stream, target: Stream, chunk: int = 1 << 20) -> list[bytes]:
    """Move the ciphertext; the plaintext that comes out."""
    data, plain = source.outgoing(), []
    buffer = memoryview(bytearray(1000))
    for start in range(0, len(data), chunk):
        target.feed(data[start : start + chunk])
        if target.established or target.handshake():
            target.receive(buffer, lambda count: plain.append(bytes(buffer[:count])))
    return plain


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_streams_agree_and_carry_bytes_in_any_chunks(files: Files, chunk: int) -> None:
    server = Stream(server_context(files.server), server_side=True)
    client = Stream(client_context(ca=files.ca), server_side=False, server_hostname="localhost")
    client.handshake()
    while not (server.established and client.established):
        carry(client, server, chunk)
        carry(server, client, chunk)
    data = bytes(range(256)) * 200
    client.write(data)
    assert b"".join(carry(client, server, chunk)) == data
    server.write(b"short")
    assert b"".join(carry(server, client, chunk)) == b"short"
    assert server.describe().startswith("TLSv1.3")


def test_context_below_1_2_is_refused(files: Files) -> None:
    with pytest.raises(ConfigurationError, match=r"1\.2"):
        server_context(files.server, minimum_version=ssl.TLSVersion.MINIMUM_SUPPORTED)


def test_missing_and_unfitting_files_are_configuration_errors(files: Files, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="absent"):
        server_context(tmp_path / "absent.pem")
    with pytest.raises(ConfigurationError):
        server_context(files.server, files.ca)
    with pytest.raises(ConfigurationError, match="CA"):
        server_context(files.server, client_certificate=True)


async def test_echo_and_store_over_tls(files: Files) -> None:
    kept = Kept()
    services = {(VERIFICATION, CEchoRq): echo, ("*", CStoreRq): kept}
    async with listening(services, tls=server_context(files.server)) as acceptor:
        options = RequestorOptions(tls=client_context(ca=files.ca))
        async with connect(
            "127.0.0.1", acceptor.port, called_ae_title="A", contexts=CONTEXTS, options=options
        ) as association:
            assert (await association.request(ECHO_ID, CEchoRq(0, VERIFICATION))).status == 0
            data = bytes(range(250)) * 20_000
            assert (await association.request(CT_ID, CStoreRq(0, CT, "1.2.3"), [data])).status == 0
            assert association.peer_certificate is not None
    assert kept.stored == [data]


async def test_mutual_tls_takes_a_known_client_and_no_other(files: Files, log: Log) -> None:
    context = server_context(files.server, client_ca=files.ca, client_certificate=True)
    async with listening(tls=context) as acceptor:
        known = RequestorOptions(tls=client_context(ca=files.ca, certificate=files.client))
        async with connect(
            "127.0.0.1", acceptor.port, called_ae_title="A", contexts=CONTEXTS, options=known
        ) as association:
            assert (await association.request(ECHO_ID, CEchoRq(0, VERIFICATION))).status == 0
        unknown = RequestorOptions(tls=client_context(ca=files.ca))
        with pytest.raises(AssociationError):
            async with connect(
                "127.0.0.1", acceptor.port, called_ae_title="A", contexts=CONTEXTS, options=unknown
            ):
                pass
    assert any("TLS handshake failed" in event.get("reason", "") for event in log)


@pytest.mark.parametrize("begun", [b"\x16\x03\x01\x02", b"\x16\x03\x01\x00\x04\x01\x00\x02\x00"])
async def test_handshake_that_is_broken_off_is_logged(files: Files, begun: bytes, log: Log) -> None:
    async with listening(tls=server_context(files.server)) as acceptor, raw(acceptor.port) as peer:
        peer.send(begun)
        peer.writer.write_eof()
        await peer.closed()
    assert [(event["event"], event["reason"]) for event in log] == [
        ("connection lost", "within the TLS handshake")
    ]


async def test_requestor_refuses_a_certificate_of_another_authority_or_name(
    files: Files, tmp_path: Path
) -> None:
    async with listening(tls=server_context(files.server)) as acceptor:
        other = Files(tmp_path)
        for options in (
            RequestorOptions(tls=client_context(ca=other.ca)),
            RequestorOptions(tls=client_context(ca=files.ca), server_hostname="elsewhere"),
        ):
            with pytest.raises(TLSFailed, match=r"(?i)certificate"):
                async with connect(
                    "127.0.0.1", acceptor.port, called_ae_title="A", contexts=CONTEXTS, options=options
                ):
                    pass


async def test_stalled_handshake_blocks_nobody_and_ends_by_its_own_timeout(files: Files) -> None:
    async with (
        listening(tls=server_context(files.server), timeouts=Timeouts(tls=0.3)) as acceptor,
        raw(acceptor.port) as stalled,
    ):
        stalled.send(bytes.fromhex("16 03 01 02 00 01"))
        options = RequestorOptions(tls=client_context(ca=files.ca))
        async with connect(
            "127.0.0.1", acceptor.port, called_ae_title="A", contexts=CONTEXTS, options=options
        ) as association:
            assert (await association.request(ECHO_ID, CEchoRq(0, VERIFICATION))).status == 0
        assert await stalled.closed() == b""


async def test_dicom_without_tls_on_a_tls_port_is_named(files: Files, log: Log) -> None:
    async with listening(tls=server_context(files.server)) as acceptor, raw(acceptor.port) as peer:
        peer.send(associate_rq())
        assert await peer.closed() == b""
    assert any("DICOM without TLS" in event.get("reason", "") for event in log)


async def test_http_over_tls_is_answered_over_tls(files: Files) -> None:
    async with listening(tls=server_context(files.server)) as acceptor:
        context = client_context(ca=files.ca)
        async with asyncio.timeout(SOON):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", acceptor.port, ssl=context, server_hostname="localhost"
            )
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert b"DICOM port" in await reader.read()
            writer.close()
            await writer.wait_closed()


async def test_tls_behind_a_proxy_header(files: Files) -> None:
    async with listening(tls=server_context(files.server), proxy_protocol=ProxyProtocol.REQUIRED) as acceptor:
        reader, writer = await asyncio.open_connection("127.0.0.1", acceptor.port)
        writer.write(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 104\r\n")
        async with asyncio.timeout(SOON):
            await writer.start_tls(client_context(ca=files.ca), server_hostname="localhost")
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert b"DICOM port" in await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_requestor_with_tls_at_a_port_without_fails_clearly() -> None:
    async with listening() as acceptor:
        options = RequestorOptions(tls=client_context(verify=False))
        with pytest.raises(TLSFailed):
            async with connect(
                "127.0.0.1", acceptor.port, called_ae_title="A", contexts=CONTEXTS, options=options
            ):
                pass
