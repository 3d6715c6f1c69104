"""The node's work as JSON: jobs, procedure steps, notifications of availability, to be looked at.

What is done to jobs is done by `dicomwire jobs`: a page in somebody's browser must not be able to.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dicomwire.dicom.data_set import to_json
from dicomwire.web.problems import problem_response
from dicomwire.work import availability, jobs, procedure_steps
from dicomwire.work.availability import Notification
from dicomwire.work.jobs import Job, Selection, State
from dicomwire.work.procedure_steps import Step
from dicomwire.work.refusal import Refused
from dicomwire.work.store import Store

PROCEDURE_STEPS = "/api/procedure-steps"
AVAILABILITY = "/api/availability"
LINKS = ("study", "accession", "step", "series")
MOST = 1000  # jobs, steps or notifications of one answer


def routes(store: Store) -> list[Route]:
    """`/api/jobs`, `/api/procedure-steps` and `/api/availability`."""

    async def list_jobs(request: Request) -> Response:
        asked = request.query_params
        try:
            states = tuple(State(name) for name in asked.getlist("state"))
            limit = _limit(asked.get("limit"))
        except ValueError as error:
            return problem_response(400, str(error))
        selection = Selection(states, asked.get("kind"), asked.get("destination"))
        found = jobs.listed(store, selection, limit)
        return _json([_job(job) for job in found])

    async def list_steps(request: Request) -> Response:
        asked = request.query_params
        try:
            limit = _limit(asked.get("limit"))
        except ValueError as error:
            return problem_response(400, str(error))
        named = [(kind, asked[kind]) for kind in LINKS if kind in asked]
        if unknown := set(asked) - {*LINKS, "uid", "limit"}:
            return problem_response(400, f"{min(unknown)!r} is none of uid, {', '.join(LINKS)} and limit")
        if "uid" in asked:
            try:
                found = [procedure_steps.find(store, asked["uid"])]
            except Refused as refused:
                return problem_response(404, refused.words)
        elif named:
            found = procedure_steps.linked(store, *named[0])[:limit]
        else:
            found = procedure_steps.recent(store, limit)
        return _json([_step(step) for step in found])

    async def list_notifications(request: Request) -> Response:
        asked = request.query_params
        try:
            limit = _limit(asked.get("limit"))
        except ValueError as error:
            return problem_response(400, str(error))
        if unknown := set(asked) - {"study", "limit"}:
            return problem_response(400, f"{min(unknown)!r} is none of study and limit")
        found = availability.listed(store, asked.get("study"), limit)
        return _json([_notification(each) for each in found])

    return [
        Route("/api/jobs", list_jobs),
        Route(PROCEDURE_STEPS, list_steps),
        Route(AVAILABILITY, list_notifications),
    ]


def _limit(text: str | None) -> int:
    limit = int(text or 100)
    if not 1 <= limit <= MOST:
        raise ValueError(f"limit is from 1 to {MOST}")
    return limit


def _job(job: Job) -> dict[str, object]:
    """Without its payload, which may name a patient."""
    return {
        "id": job.id,
        "state": job.state.value,
        "kind": job.kind,
        "destination": job.destination,
        "attempts": job.attempts,
        "due": _time(job.planned),
        "changed": _time(job.changed),
        "reason": job.reason,
    }


def _step(step: Step) -> dict[str, object]:
    return {
        "sop_instance_uid": step.sop_instance_uid,
        "status": step.status.value,
        "created": _time(step.created),
        "changed": _time(step.changed),
        "attributes": json.loads(to_json(step.attributes)),
    }


def _notification(taken: Notification) -> dict[str, object]:
    return {
        "sop_instance_uid": taken.sop_instance_uid,
        "ae_title": taken.ae_title,
        "created": _time(taken.created),
        "attributes": json.loads(to_json(taken.attributes)),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _json(facts: Sequence[object]) -> Response:
    body = json.dumps(facts, indent=2, ensure_ascii=False)
    return Response(body + "\n", media_type="application/json", headers={"Cache-Control": "no-store"})
