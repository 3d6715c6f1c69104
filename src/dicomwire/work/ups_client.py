"""What another system's worklist of Unified Procedure Steps can be asked, whichever door it has (PS3.4 CC.2).

`services.workitems` asks over DIMSE, `web.workitem_client` over UPS-RS; what fails is raised.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dicomwire.dicom.data_set import DataSet
from dicomwire.dicom.identifier import Key
from dicomwire.work.ups_events import Event


@dataclass(frozen=True, slots=True)
class Done:
    """How a request was performed.

    Attributes:
        sop_instance_uid: of the workitem, or of the well-known instance.
        status: four hexadecimal digits of a DIMSE status, or three of an HTTP status.
        words: the status in words, a warning included.
        attributes: what the answer holds; empty where it holds nothing.
    """

    sop_instance_uid: str
    status: str
    words: str
    attributes: DataSet = field(default_factory=DataSet, repr=False)


@dataclass(frozen=True, slots=True)
class EventReport:
    """An event of a workitem, or of the SCP, as it was reported."""

    sop_instance_uid: str
    event: Event
    attributes: DataSet = field(repr=False)


class Worklist(Protocol):
    """A worklist of another system. Each method raises OperationFailed or WebServiceError when refused."""

    async def create(self, attributes: DataSet, sop_instance_uid: str = "") -> Done:
        """Have a workitem made; without a UID the other side makes one."""

    async def retrieve(self, sop_instance_uid: str, tags: Sequence[int] = ()) -> Done:
        """A workitem; tags: of these attributes only."""

    async def update(self, sop_instance_uid: str, changes: DataSet, transaction_uid: str = "") -> Done:
        """Set attributes of a workitem, as its performer once it has one."""

    async def change_state(self, sop_instance_uid: str, state: str, transaction_uid: str) -> Done:
        """Take a workitem (IN PROGRESS), or end it as its performer (COMPLETED, CANCELED)."""

    async def request_cancel(self, sop_instance_uid: str, information: DataSet) -> Done:
        """Ask for a workitem to be cancelled; information: reason and contact."""

    def search(self, keys: Sequence[Key], limit: int | None = None) -> AsyncGenerator[DataSet, None]:
        """The workitems that match."""

    async def subscribe(
        self, sop_instance_uid: str, receiver: str, *, lock: bool = False, keys: DataSet | None = None
    ) -> Done:
        """Subscribe an AE to one workitem, to all, or to those that match keys."""

    async def unsubscribe(self, sop_instance_uid: str, receiver: str) -> Done:
        """End a subscription."""

    async def suspend(self, sop_instance_uid: str, receiver: str) -> Done:
        """Subscribe an AE to no more workitems that come."""
