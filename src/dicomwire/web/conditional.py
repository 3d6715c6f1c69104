"""Entity tags and conditional requests (RFC 9110 8.8.3, 13.1.2; PS3.18 8.4.3).

What a stored instance holds never changes: a tag is made of the record ids behind an answer and of the form
in which it leaves, without reading any of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Stored
from dicomwire.web.problems import Problem, shown


def entity_tag(plan: Iterable[Stored], *form: str) -> str:
    """The strong entity tag of an answer.

    form: all that its bytes depend on besides the instances: media type, transfer syntax, base URL.
    """
    digest = blake2b(digest_size=12)
    for stored in plan:
        digest.update(b"%d," % stored.record_id)
    for each in form:
        digest.update(each.encode() + b"\0")
    return f'"{digest.hexdigest()}"'


def not_modified(request: Request, tag: str) -> Response | None:
    """304 where the client says that it has what this tag stands for; None where it wants the answer.

    Raises: Problem 412, where it wants something else that this stood for once (RFC 9110 13.1.1).
    """
    if wanted := ",".join(request.headers.getlist("if-match")):
        tags = {each.strip() for each in wanted.split(",")}
        if not tags & {tag, "*"}:
            raise Problem(412, f"If-Match is {shown(wanted)}; the entity tag is {tag}", {"ETag": tag})
    known = ",".join(request.headers.getlist("if-none-match"))
    if not known:
        return None
    tags = {each.strip().removeprefix("W/") for each in known.split(",")}
    return Response(status_code=304, headers={"ETag": tag}) if tags & {tag, "*"} else None
