"""Retrieve Capabilities: what the service can do, as WADL in XML or JSON (PS3.18 8.9, H).

Made from the route table: what is routed is described, and nothing else is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final
from xml.sax.saxutils import quoteattr

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.web.documents import SHOWN
from dicomwire.web.frame_forms import FRAME_MEDIA_TYPES
from dicomwire.web.media_types import (
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    JSON,
    MULTIPART_RELATED,
    OCTET_STREAM,
    Wanted,
    accept_of,
    not_acceptable,
)
from dicomwire.web.options import WebOptions
from dicomwire.web.packaging import ZIP
from dicomwire.web.pictures import STILLS
from dicomwire.web.resources import base_url

WADL: Final = "application/vnd.sun.wadl+xml"
NAMESPACE: Final = "http://wadl.dev.java.net/2009/02"

_FORMS: Final = {WADL: WADL, "application/xml": WADL, "text/xml": WADL, JSON: JSON}
_PARTS: Final = f'{MULTIPART_RELATED}; type="{{}}"'
_STORED: Final = tuple(dict.fromkeys(FRAME_MEDIA_TYPES.values()))
_RENDERING: Final = ("accept", "annotation", "quality", "viewport", "window", "iccprofile")


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one method does.

    Attributes:
        name: of the transaction (PS3.18 Table H-1); {of} is what the path names last, {in} all that it names.
        takes: media types of the request's body.
        gives: media types of the answer.
        parameters: query parameters.
        statuses: of success.
    """

    name: str
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    statuses: tuple[int, ...] = (200,)


_ENTITIES: Final = {"{study}": "Study", "{series}": "Series", "{instance}": "Instance", "{frames}": "Frames"}
_SEARCH: Final = Transaction(
    "Search for {in} Instances",
    gives=(DICOM_JSON, JSON, _PARTS.format(DICOM_XML)),
    parameters=(
        "{attributeID}", "limit", "offset", "includefield", "fuzzymatching", "emptyvaluematching",
        "multiplevaluematching", "accept",
    ),
    statuses=(200, 204),
)  # fmt: skip
_OCTETS: Final = (_PARTS.format(OCTET_STREAM), OCTET_STREAM)
_IN_PARTS: Final = tuple(_PARTS.format(each) for each in _STORED)
_INSTANCES: Final = Transaction(
    "Retrieve {of}",
    gives=(_PARTS.format(DICOM), DICOM, ZIP, _PARTS.format(OCTET_STREAM), *_IN_PARTS),
    parameters=("accept",),
)
_METADATA: Final = Transaction(
    "Retrieve {of} Metadata", gives=(DICOM_JSON, JSON, _PARTS.format(DICOM_XML)), parameters=("accept",)
)
_BULK_DATA: Final = Transaction("Retrieve {of} Bulkdata", (), (*_OCTETS, *_IN_PARTS, *_STORED), ("accept",))
_RENDERED: Final = Transaction("Retrieve Rendered {of}", gives=(*STILLS, *SHOWN), parameters=_RENDERING)
_STORE: Final = Transaction(
    "Store {in} Instances",
    takes=(*(_PARTS.format(form) for form in (DICOM, DICOM_JSON, DICOM_XML)), DICOM),
    gives=(DICOM_JSON, DICOM_XML),
    statuses=(200, 202),
)
_COMMITMENT: Final = Transaction(
    "Request Storage Commitment", takes=(DICOM_JSON, DICOM_XML), gives=(DICOM_JSON, DICOM_XML)
)

_CAPABILITIES: Final = Transaction("Retrieve Capabilities", gives=(WADL, JSON), parameters=("accept",))

# Method and last segment of a path
TRANSACTIONS: Final[Mapping[tuple[str, str], Transaction]] = {
    ("GET", "studies"): replace(_SEARCH, name="Search for Studies"),
    ("GET", "series"): replace(_SEARCH, name="Search for {in} Series"),
    ("GET", "instances"): _SEARCH,
    ("GET", "{study}"): _INSTANCES,
    ("GET", "{series}"): _INSTANCES,
    ("GET", "{instance}"): _INSTANCES,
    ("GET", "metadata"): _METADATA,
    ("GET", "frames"): replace(_BULK_DATA, name="Retrieve Every Frame"),
    ("GET", "{frames}"): replace(_BULK_DATA, name="Retrieve Frames"),
    ("GET", "bulkdata"): _BULK_DATA,
    ("GET", "{path:path}"): replace(_BULK_DATA, name="Retrieve Bulkdata"),
    ("GET", "pixeldata"): replace(_BULK_DATA, name="Retrieve {of} Pixel Data"),
    ("GET", "rendered"): _RENDERED,
    ("GET", "thumbnail"): Transaction(
        "Retrieve {of} Thumbnail", gives=STILLS, parameters=("accept", "viewport")
    ),
    ("GET", "wado"): Transaction(
        "URI Retrieve",
        gives=(DICOM, *_RENDERED.gives),
        parameters=(
            *("requestType", "studyUID", "seriesUID", "objectUID", "contentType", "charset"),
            *("anonymize", "transferSyntax"),
            *("annotation", "imageAnnotation", "frameNumber", "imageQuality", "rows", "columns", "region"),
            *("windowCenter", "windowWidth", "presentationSeriesUID", "presentationUID"),
        ),
    ),
    ("POST", "studies"): _STORE,
    ("POST", "{study}"): _STORE,
    ("POST", "{transaction}"): _COMMITMENT,
    ("GET", "{transaction}"): replace(_COMMITMENT, name="Result Check", takes=()),
    ("GET", "modality-scheduled-procedure-steps"): replace(
        _SEARCH, name="Search for Modality Scheduled Procedure Steps"
    ),
    ("POST", "modality-scheduled-procedure-steps"): Transaction(
        "Create Worklist Item", takes=(DICOM_JSON, DICOM_XML), gives=(JSON,), statuses=(201,)
    ),
    ("GET", "workitems"): replace(_SEARCH, name="Search for Workitem"),
    ("POST", "workitems"): Transaction(
        "Create Workitem", takes=(DICOM_JSON, DICOM_XML), parameters=("workitem",), statuses=(201,)
    ),
    ("GET", "{workitem}"): Transaction("Retrieve Workitem", gives=(DICOM_JSON, DICOM_XML)),
    ("POST", "{workitem}"): Transaction(
        "Update Workitem", takes=(DICOM_JSON, DICOM_XML), parameters=("transaction-uid",)
    ),
    ("PUT", "state"): Transaction("Change Workitem State", takes=(DICOM_JSON, DICOM_XML)),
    ("POST", "cancelrequest"): Transaction(
        "Request Workitem Cancellation", takes=(DICOM_JSON, DICOM_XML), statuses=(202,)
    ),
    ("POST", "{aetitle}"): Transaction("Subscribe", parameters=("deletionlock", "filter"), statuses=(201,)),
    ("DELETE", "{aetitle}"): Transaction("Unsubscribe"),
    ("POST", "suspend"): Transaction("Suspend Worklist Subscription"),
    ("GET", "{item}"): Transaction("Retrieve Worklist Item", gives=(DICOM_JSON, DICOM_XML)),
    ("PUT", "{item}"): Transaction("Replace Worklist Item", takes=(DICOM_JSON, DICOM_XML), statuses=(204,)),
    ("DELETE", "{item}"): Transaction("Delete Worklist Item", statuses=(204,)),
    ("GET", ""): _CAPABILITIES,
    ("OPTIONS", ""): _CAPABILITIES,
    **{("DELETE", last): Transaction("Delete {of}", statuses=(204,)) for last in list(_ENTITIES)[:3]},
}


class Capabilities:
    """Endpoint of OPTIONS and GET on the service's root."""

    def __init__(self, options: WebOptions, resources: Mapping[str, tuple[str, ...]]) -> None:
        """resources: the methods of each path of the route table."""
        self._options = options
        self._resources = resources

    async def __call__(self, request: Request) -> Response:
        accept = accept_of(request)
        form = accept.choose(_form)
        if form is None:
            raise not_acceptable(accept, [WADL, JSON])
        write = partial(_xml if form == WADL else _json, base_url(request, self._options), self._resources)
        return Response(write(), media_type=form, headers={"Allow": "GET, HEAD, OPTIONS"})


def _form(wanted: Wanted) -> str | None:
    return next((_FORMS[essence] for essence in _FORMS if wanted.part.matches(essence)), None)


def described(
    resources: Mapping[str, tuple[str, ...]],
) -> Iterator[tuple[str, list[tuple[str, Transaction]]]]:
    """Each path of a route table with its methods and what they do."""
    for path, methods in resources.items():
        last = path.rpartition("/")[2]
        within = [_ENTITIES[segment] for segment in path.split("/") if segment in _ENTITIES]
        words = {"of": "".join(within[-1:]), "in": " ".join(within)}
        found = []
        for method in methods:
            transaction = TRANSACTIONS.get((method, last), Transaction(method))
            name = " ".join(transaction.name.format_map(words).split())
            found.append((method, replace(transaction, name=name)))
        yield path.lstrip("/").replace(":path}", "}"), found


def _xml(base: str, resources: Mapping[str, tuple[str, ...]]) -> bytes:
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<application xmlns="{NAMESPACE}">']
    lines.append(f" <resources base={quoteattr(base + '/')}>")
    for path, methods in described(resources):
        lines.append(f"  <resource path={quoteattr(path)}>")
        for method, transaction in methods:
            lines += _method(method, transaction)
        lines.append("  </resource>")
    return "\n".join((*lines, " </resources>", "</application>", "")).encode()


def _id(transaction: Transaction) -> str:
    """Its name without spaces: an xsd:ID, so there is one of each (WADL 2.8.1)."""
    return "".join(word[0].upper() + word[1:] for word in transaction.name.split())


def _method(method: str, transaction: Transaction) -> Iterator[str]:
    yield f"   <method name={quoteattr(method)} id={quoteattr(_id(transaction))}>"
    yield "    <request>"
    for name in transaction.parameters:
        yield f'     <param name={quoteattr(name)} style="query"/>'
    for media_type in transaction.takes:
        yield f"     <representation mediaType={quoteattr(media_type)}/>"
    yield "    </request>"
    yield f'    <response status="{" ".join(map(str, transaction.statuses))}">'
    for media_type in transaction.gives:
        yield f"     <representation mediaType={quoteattr(media_type)}/>"
    yield "    </response>"
    yield "   </method>"


def _json(base: str, resources: Mapping[str, tuple[str, ...]]) -> bytes:
    """The same document, elements as members (PS3.18 H)."""
    listed = [
        {
            "@path": path,
            "method": [
                {
                    "@name": method,
                    "@id": _id(transaction),
                    "request": {
                        "param": [{"@name": name, "@style": "query"} for name in transaction.parameters],
                        "representation": [{"@mediaType": each} for each in transaction.takes],
                    },
                    "response": {
                        "@status": " ".join(map(str, transaction.statuses)),
                        "representation": [{"@mediaType": each} for each in transaction.gives],
                    },
                }
                for method, transaction in methods
            ],
        }
        for path, methods in described(resources)
    ]
    resources_node = {"@base": base + "/", "resource": listed}
    return json.dumps({"application": {"@xmlns": NAMESPACE, "resources": resources_node}}).encode()
