"""The flight recorder as JSON, pages and captures: `/api/associations`, each of them, and its PDUs.

No value of a data set is in it, and no credentials.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from dicomwire.association.flight import FlightRecorder, Recording
from dicomwire.diagnose.exchange import Exchange
from dicomwire.diagnose.explain import explain
from dicomwire.diagnose.finding import Side, Story, escaped, timestamp
from dicomwire.diagnose.html import page as story_page
from dicomwire.diagnose.timeline import listen
from dicomwire.node.facts import location
from dicomwire.node.masking import masked_line
from dicomwire.node.page import POLICY, STORIES
from dicomwire.web.problems import problem_response

PATH = "/api/associations"
MEDIA_TYPE = "application/vnd.tcpdump.pcap"


def routes(flight: FlightRecorder) -> list[Route]:
    """`/api/associations`, `/api/associations/{id}`, `/api/associations/{id}/pcap`, and a page of each."""

    async def list_associations(request: Request) -> Response:
        return _json({"associations": [facts(one) for one in flight]})

    async def show(request: Request) -> Response:
        found = flight.find(request.path_params["id"])
        if found is None:
            return _unknown(request)
        story = story_of(found)
        told = {"requests": requests(found), "story": story.as_json() if story else None}
        return _json({**facts(found), **told})

    async def story(request: Request) -> Response:
        found = flight.find(request.path_params["id"])
        if found is None:
            return _unknown(request)
        text = story_page([explain(found.id, [found.trace(masked_line)])])
        return HTMLResponse(text, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})

    async def pcap(request: Request) -> Response:
        found = flight.find(request.path_params["id"])
        if found is None:
            return _unknown(request)
        headers = {
            "Content-Disposition": f'attachment; filename="{found.id}.pcapng"',
            "Cache-Control": "no-store",
        }
        return Response(found.trace(masked_line), media_type=MEDIA_TYPE, headers=headers)

    return [
        Route(PATH, list_associations),
        Route(f"{PATH}/{{id}}", show),
        Route(f"{PATH}/{{id}}/pcap", pcap),
        Route(f"/{STORIES}/{{id}}", story),
    ]


def facts(recording: Recording) -> dict[str, object]:
    """What is known of one association, without its PDUs."""
    peer = recording.server if recording.requestor else recording.client
    own, other = (Side.REQUESTOR, Side.ACCEPTOR) if recording.requestor else (Side.ACCEPTOR, Side.REQUESTOR)
    ended = recording.ended
    return {
        "id": recording.id,
        "state": recording.state,
        "direction": "outgoing" if recording.requestor else "incoming",
        "peer": location(*peer) if peer[1] else "",
        "calling_ae_title": escaped(recording.calling_ae_title),
        "called_ae_title": escaped(recording.called_ae_title),
        "began": timestamp(recording.began),
        "seconds": None if ended is None else round(ended - recording.began, 3),
        "reason": escaped(recording.reason),
        "answer": recording.answer,
        "performed": dict(recording.performed),
        "bytes_received": recording.bytes[other],
        "bytes_sent": recording.bytes[own],
        "bytes_left_out": recording.omitted,
    }


def story_of(recording: Recording) -> Story | None:
    """What the rules of diagnosis say of it."""
    stories = explain(recording.id, [recording.trace()]).stories
    return next((one for one in stories if one.kind != "capture"), None)


def requests(recording: Recording) -> list[dict[str, object]]:
    """Each request that was kept: when it was complete, and how long its final response took."""
    conversations = listen([recording.trace()]).facts.conversations
    return [
        {
            "request": exchange.name,
            "sender": exchange.side,
            "message_id": exchange.request.message_id,
            "sop_class": exchange.sop_class_uid,
            "began": timestamp(exchange.began.time),
            "milliseconds": _milliseconds(exchange),
            "status": None if exchange.status is None else f"{exchange.status:04X}",
        }
        for conversation in conversations
        for exchange in conversation.exchanges
    ]


def _milliseconds(exchange: Exchange) -> float | None:
    answered = exchange.response_place if exchange.done else None
    return None if answered is None else round((answered.time - exchange.began.time) * 1_000, 3)


def _unknown(request: Request) -> Response:
    return problem_response(404, f"no association {request.path_params['id']!r} is kept")


def _json(body: Mapping[str, object]) -> Response:
    text = json.dumps(body, indent=2, ensure_ascii=False)
    return Response(text + "\n", media_type="application/json", headers={"Cache-Control": "no-store"})
