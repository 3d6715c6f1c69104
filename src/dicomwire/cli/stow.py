"""STOW-RS as a client: instances in multipart requests, the outcome of each from the answer (PS3.18 10.5).

Requests are cut so that one answer covers a bounded share. None holds two instances of one UID: the
answer tells them apart by nothing else. Files go out as they are; a bare data set gets file meta information.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dicomwire.cli.connection import Access
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.dimse import status
from dicomwire.errors import WebServiceError
from dicomwire.services.instances import Instance
from dicomwire.services.sending import Delivery, Outcome, Report
from dicomwire.web.store_answer import read

if TYPE_CHECKING:
    from dicomwire.web.client import Upload, WebClient

MOST_INSTANCES = 100  # of one request
MOST_BYTES = 64 << 20  # of one request, unless one instance alone is larger
SUCCESSES = (200, 202, 204)  # HTTP statuses of store requests (PS3.18 Table 10.5.3-1), and of some services
_RESOURCE = re.compile(r"(?P<base>[^/]+//[^/]+.*?)/studies(?:/(?P<study>[0-9.]+))?")


async def deliver(
    url: str, access: Access, seconds: float | None, instances: Sequence[Instance], report: Report
) -> None:
    """Send instances to a DICOMweb service.

    Args:
        url: base of the service; `/studies` may stand behind it, and the study that all belong to.
        seconds: to wait for each step of a request.
    """
    resource = _RESOURCE.fullmatch(url.rstrip("/"))
    base, study = (resource["base"], resource["study"]) if resource else (url, None)
    async with service(base, access, seconds) as client:
        for share in requests(instances):
            for delivery in await _send(client, share, study):
                report(delivery)


def service(url: str, access: Access, seconds: float | None) -> WebClient:
    """A DICOMweb service with the login of the command line."""
    from dicomwire.web.client import SECONDS, WebClient

    user = (access.user, access.secret() or "") if access.user is not None else None
    return WebClient(
        url,
        token=access.token(),
        user=user,
        verify=access.context() or True,
        timeout=seconds or SECONDS,
    )


def requests(instances: Sequence[Instance]) -> Iterator[list[Instance]]:
    """Instances of one request each."""
    share: list[Instance] = []
    uids: set[str] = set()
    length = 0
    for instance in instances:
        full = len(share) == MOST_INSTANCES or length + instance.length > MOST_BYTES
        if share and (full or instance.sop_instance_uid in uids):
            yield share
            share, uids, length = [], set(), 0
        share.append(instance)
        uids.add(instance.sop_instance_uid)
        length += instance.length
    if share:
        yield share


async def _send(client: WebClient, instances: Sequence[Instance], study: str | None) -> list[Delivery]:
    """One request; what became of each instance."""
    try:
        answer = await client.store([_upload(instance) for instance in instances], study=study)
    except (WebServiceError, OSError) as error:
        return [Delivery(instance, Outcome.FAILED, str(error)) for instance in instances]
    return judge(instances, answer.status, answer.body)


def _upload(instance: Instance) -> Upload:
    from dicomwire.web.client import Upload

    path = Path(instance.name)
    size = path.stat().st_size
    if size != instance.length:
        return Upload(path, size)
    head = write_file_meta(instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid)
    return Upload(path, size, head)  # a bare data set


def judge(instances: Sequence[Instance], code: int, body: bytes) -> list[Delivery]:
    """What an answer says of each instance.

    Args:
        code: HTTP status.
        body: a store response in the DICOM JSON model, problem details, or anything else.

    Source: PS3.18 10.5.3, Table I.2-1.
    """
    from dicomwire.web.client import refusal

    reasons = read(body)
    failed, stored = reasons.failed, reasons.stored
    deliveries = []
    for instance in instances:
        uid, syntax = instance.sop_instance_uid, instance.transfer_syntax_uid
        if uid in failed:
            reason = status.words(status.STORE, failed[uid], reasons.comments.get(uid, ""))
            delivery = Delivery(instance, Outcome.REFUSED, reason, failed[uid], syntax)
        elif stored.get(uid):
            reason = status.words(status.STORE, stored[uid], reasons.comments.get(uid, ""))
            delivery = Delivery(instance, Outcome.WARNING, reason, stored[uid], syntax)
        elif uid in stored:
            delivery = Delivery(instance, Outcome.STORED, "", 0, syntax)
        elif unnamed := reasons.unnamed(code):
            delivery = Delivery(instance, Outcome.WARNING, unnamed, None, syntax)
        else:
            silent = ", and nothing says that it is stored" if code in SUCCESSES else ""
            delivery = Delivery(instance, Outcome.REFUSED, refusal(code, body) + silent, None, syntax)
        deliveries.append(delivery)
    return deliveries
