"""TLS with DCMTK's build of OpenSSL, server-only and mutual (PS3.15 B.9 to B.12)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from benchmarks import receivers
from benchmarks.receivers import free_port
from tests.interop.conftest import require
from tests.interop.support import Node, bundled_files, run


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of one authority: it, and a server's and a client's certificate and key."""

    authority: Path
    server: tuple[Path, Path]
    client: tuple[Path, Path]


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """A throwaway authority and two certificates it signed."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    pairs = []
    for name in ("server", "client"):
        issued = authority.issue_cert("localhost", "127.0.0.1")
        key, certificate = tmp_path / f"{name}.key", tmp_path / f"{name}.pem"
        issued.private_key_pem.write_to_path(key)
        issued.cert_chain_pems[0].write_to_path(certificate)
        pairs.append((key, certificate))
    return Certificates(tmp_path / "ca.pem", *pairs)


class TLSNode(Node):
    """A node whose DIMSE door speaks TLS: ready is what its web door says."""

    def _answers(self) -> bool:
        return "ready" in self.log


def _node(tmp_path: Path, certificates: Certificates, *more: str) -> TLSNode:
    require(receivers.StoreSCP)
    key, certificate = certificates.server
    configuration = tmp_path / "dicomwire.toml"
    lines = ["[dimse.tls]", f'certificate = "{certificate}"', f'key = "{key}"', *more]
    configuration.write_text("\n".join(lines) + "\n")
    return TLSNode(tmp_path / "node", flags=("--config", str(configuration)))


def test_echo_and_store_over_tls(tmp_path: Path, certificates: Certificates) -> None:
    node = _node(tmp_path, certificates)
    node.start()
    try:
        trust = ["+tla", "+cf", str(certificates.authority)]
        port = str(node.dimse_port)
        echoed = run("echoscu", *trust, "127.0.0.1", port)
        assert echoed.returncode == 0, echoed.stderr + node.log
        file = next(each for each in bundled_files() if each.path.name == "CT_small.dcm")
        stored = run("storescu", *trust, "127.0.0.1", port, file.path)
        assert stored.returncode == 0, stored.stderr + node.log
        assert set(node.instances()) == {file.sop_instance_uid}
        plain = run("echoscu", "127.0.0.1", port)
        assert plain.returncode != 0
    finally:
        node.stop()


def test_mutual_tls_asks_for_a_certificate(tmp_path: Path, certificates: Certificates) -> None:
    node = _node(tmp_path, certificates, f'client_ca = "{certificates.authority}"')
    node.start()
    try:
        port = str(node.dimse_port)
        key, certificate = certificates.client
        trust = ["+cf", str(certificates.authority)]
        known = run("echoscu", "+tls", key, certificate, *trust, "127.0.0.1", port)
        assert known.returncode == 0, known.stderr + node.log
        anonymous = run("echoscu", "+tla", *trust, "127.0.0.1", port)
        assert anonymous.returncode != 0
    finally:
        node.stop()


def test_a_plain_node_says_that_tls_came(tmp_path: Path) -> None:
    require(receivers.StoreSCP)
    node = Node(tmp_path / "node", dimse_port=free_port())
    node.start()
    try:
        assert run("echoscu", "+tla", "-ic", "127.0.0.1", str(node.dimse_port)).returncode != 0
        assert run("echoscu", "127.0.0.1", str(node.dimse_port)).returncode == 0
        assert "TLS" in node.log.upper()
    finally:
        node.stop()
