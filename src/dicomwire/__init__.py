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
    from dicomwire.errors import (
        Aborted,
        AssociationTimeout,
        ConnectionFailed,
        ConnectionLost,
        DicomwireError,
        LocalProtocolError,
        NoAcceptedContext,
        OperationFailed,
        QueryError,
        Rejected,
    )
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
    "Aborted",
    "Acceptor",
    "AcceptorOptions",
    "Archive",
    "Association",
    "AssociationTimeout",
    "BlockingClient",
    "Client",
    "ConnectionFailed",
    "ConnectionLost",
    "Context",
    "DicomwireError",
    "Folder",
    "LocalProtocolError",
    "NoAcceptedContext",
    "NotTaken",
    "OperationFailed",
    "QueryError",
    "QueryOptions",
    "Rejected",
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
    "Aborted": "dicomwire.errors",
    "Acceptor": "dicomwire.association.acceptor",
    "AcceptorOptions": "dicomwire.association.options",
    "Archive": "dicomwire.archive.archive",
    "Association": "dicomwire.association.association",
    "AssociationTimeout": "dicomwire.errors",
    "BlockingClient": "dicomwire.services.blocking",
    "Client": "dicomwire.services.client",
    "ConnectionFailed": "dicomwire.errors",
    "ConnectionLost": "dicomwire.errors",
    "Context": "dicomwire.association.requestor",
    "DicomwireError": "dicomwire.errors",
    "Folder": "dicomwire.services.folder",
    "LocalProtocolError": "dicomwire.errors",
    "NoAcceptedContext": "dicomwire.errors",
    "NotTaken": "dicomwire.services.receiving",
    "OperationFailed": "dicomwire.errors",
    "QueryError": "dicomwire.errors",
    "QueryOptions": "dicomwire.services.proposals",
    "Rejected": "dicomwire.errors",
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
