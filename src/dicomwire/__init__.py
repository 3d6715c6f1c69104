"""dicomwire: a DICOM node that explains itself. The public names, each loaded when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicomwire.archive.archive import Archive
    from dicomwire.association.acceptor import Acceptor
    from dicomwire.association.association import Association
    from dicomwire.association.options import AcceptorOptions
    from dicomwire.association.requestor import Context, RequestorOptions, connect
    from dicomwire.errors import DicomwireError
    from dicomwire.upper_layer.protocol import UpperLayer

__version__ = "0.1.0"

__all__ = [
    "Acceptor",
    "AcceptorOptions",
    "Archive",
    "Association",
    "Context",
    "DicomwireError",
    "RequestorOptions",
    "UpperLayer",
    "__version__",
    "connect",
]

_HOME = {
    "Acceptor": "dicomwire.association.acceptor",
    "AcceptorOptions": "dicomwire.association.options",
    "Archive": "dicomwire.archive.archive",
    "Association": "dicomwire.association.association",
    "Context": "dicomwire.association.requestor",
    "DicomwireError": "dicomwire.errors",
    "RequestorOptions": "dicomwire.association.requestor",
    "UpperLayer": "dicomwire.upper_layer.protocol",
    "connect": "dicomwire.association.requestor",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value
