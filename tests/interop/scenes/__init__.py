"""Faults and clean traffic between real peers: DCMTK, Orthanc, pynetdicom and raw sockets.

Importing the modules fills the lists in `stage`.
"""

from __future__ import annotations

from tests.interop.scenes import association, clean, dimse, networks, tls, transport, upper_layer

__all__ = ["association", "clean", "dimse", "networks", "tls", "transport", "upper_layer"]
