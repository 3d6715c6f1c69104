"""All that a DICOMweb service is under an AE title: echo, store, find, move and get (PS3.4 A, B, C)."""

from __future__ import annotations

from pathlib import Path

from dicomwire.archive.transcoder import Transcoder
from dicomwire.association.performer import Services
from dicomwire.gateway import find, storage
from dicomwire.gateway.cache import Cache
from dicomwire.gateway.retrieval import Bring
from dicomwire.gateway.service import Service
from dicomwire.services import get, move, verification
from dicomwire.services.move import Destinations
from dicomwire.services.retrieval import Retriever


def services(
    service: Service, cache: Cache, transcoder: Transcoder, destinations: Destinations, *, spool: Path
) -> Services:
    """The table of services.

    Args:
        transcoder: of the cache's archive.
        destinations: of C-MOVE.
        spool: folder for instances on their way to the service.
    """
    retriever = Retriever(cache.archive, transcoder, bring=Bring(service, cache))
    return {
        **verification.SERVICES,
        **storage.services(service, spool),
        **find.services(service),
        **move.services(retriever, destinations),
        **get.services(retriever),
    }
