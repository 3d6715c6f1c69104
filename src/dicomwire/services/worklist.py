"""Modality Worklist Information Model - FIND, SCP (PS3.4 K)."""

from __future__ import annotations

from functools import partial
from typing import Final

from dicomwire.archive.query import Query
from dicomwire.association.performer import Request, Services
from dicomwire.dicom.data_set import tag_of
from dicomwire.dimse.command import CFindRq
from dicomwire.services.work_find import Finding, service
from dicomwire.work import worklist
from dicomwire.work.matching import Selection
from dicomwire.work.store import Store

WORKLIST: Final = "1.2.840.10008.5.1.4.31"

_NO_KEYS: Final = frozenset({tag_of("QueryRetrieveLevel")})  # some modalities send one


def services(store: Store, hidden: tuple[str, ...] = ()) -> Services:
    """The SCP.

    hidden: statuses of performed procedure steps whose items are no longer shown.
    """
    finding = Finding(store, partial(_select, hidden), "attributes, character_set", _NO_KEYS)
    return {(WORKLIST, CFindRq): service(finding)}


def _select(hidden: tuple[str, ...], query: Query, request: Request) -> Selection:
    called = request.association.called_ae_title
    return worklist.selection(query, called_ae_title=called, hidden=hidden)
