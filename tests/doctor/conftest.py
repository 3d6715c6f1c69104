from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from dicomwire.association.tls import server_context


class Certificates:
    """An authority, and server contexts with its certificates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))

    def server(self, *names: str, expired: bool = False, client: bool = False) -> ssl.SSLContext:
        until = datetime.now(UTC) - timedelta(days=1) if expired else None
        leaf = self.authority.issue_cert(*(names or ("127.0.0.1",)), not_after=until)
        path = self.folder / "server.pem"
        leaf.private_key_and_cert_chain_pem.write_to_path(str(path))
        return server_context(path, client_ca=self.ca if client else None, client_certificate=client)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))
