"""dicomwire: a DICOM node that explains itself. The public names, each loaded when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicomwire.archive.archive import Archive
    from dicomwire.association.acceptor import Acceptor
    from dicomwire.association.association import Association
    from dicomwire.association.options import AcceptorOptions, Timeouts
    from dicomwire.association.requestor import Context, RequestorOptions, request_association
    from dicomwire.errors import DicomwireError, OperationFailed
    from dicomwire.services.blocking import BlockingClient, connect_blocking
    from dicomwire.services.client import Client
    from dicomwire.services.connecting import connect
    from dicomwire.services.folder import Folder
    from dicomwire.services.listening import listen
    from dicomwire.services.proposals import QueryOptions
    from dicomwire.services.receiving import NotTaken
    from dicomwire.upper_layer.protocol import UpperLayer
    from dicomwire.web.client import WebClient

__version__ = "0.1.0"

__all__ = [
    "Acceptor",
    "AcceptorOptions",
    "Archive",
    "Association",
    "BlockingClient",
    "Client",
    "Context",
    "DicomwireError",
    "Folder",
    "NotTaken",
    "OperationFailed",
    "QueryOptions",
    "RequestorOptions",
    "Timeouts",
    "UpperLayer",
    "WebClient",
    "__version__",
    "connect",
    "connect_blocking",
    "listen",
    "request_association",
]

_HOME = {
    "Acceptor": "dicomwire.association.acceptor",
    "AcceptorOptions": "dicomwire.association.options",
    "Archive": "dicomwire.archive.archive",
    "Association": "dicomwire.association.association",
    "BlockingClient": "dicomwire.services.blocking",
    "Client": "dicomwire.services.client",
    "Context": "dicomwire.association.requestor",
    "DicomwireError": "dicomwire.errors",
    "Folder": "dicomwire.services.folder",
    "NotTaken": "dicomwire.services.receiving",
    "OperationFailed": "dicomwire.errors",
    "QueryOptions": "dicomwire.services.proposals",
    "RequestorOptions": "dicomwire.association.requestor",
    "Timeouts": "dicomwire.association.options",
    "UpperLayer": "dicomwire.upper_layer.protocol",
    "WebClient": "dicomwire.web.client",
    "connect": "dicomwire.services.connecting",
    "connect_blocking": "dicomwire.services.blocking",
    "listen": "dicomwire.services.listening",
    "request_association": "dicomwire.association.requestor",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value
