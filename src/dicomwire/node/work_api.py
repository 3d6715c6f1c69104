"""The node's work as JSON: jobs, procedure steps, notifications of availability, to be looked at.

What is done to jobs is done by `dicomwire jobs`: a page in somebody's browser must not be able to.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dicomwire.dicom.data_set import to_json
from dicomwire.web.parameters import check_once, uint
from dicomwire.web.problems import Problem, shown
from dicomwire.work import availability, jobs, procedure_steps
from dicomwire.work.availability import Notification
from dicomwire.work.jobs import Job, Selection, State
from dicomwire.work.procedure_steps import Step
from dicomwire.work.refusal import Refused
from dicomwire.work.store import Store

PROCEDURE_STEPS = "/api/procedure-steps"
AVAILABILITY = "/api/availability"
LINKS = ("study", "accession", "step", "series")
USUAL = 100  # jobs, steps or notifications of one answer that asks for no number
MOST = 1000  # of one answer


def routes(store: Store) -> list[Route]:
    """`/api/jobs`, `/api/procedure-steps` and `/api/availability`."""

    async def list_jobs(request: Request) -> Response:
        asked = request.query_params
        selection = Selection(_states(asked), asked.get("kind"), asked.get("destination"))
        return _json([_job(job) for job in jobs.listed(store, selection, _limit(asked))])

    async def list_steps(request: Request) -> Response:
        asked = request.query_params
        _check_known(asked, "uid", *LINKS, "limit")
        limit = _limit(asked)
        named = [(kind, asked[kind]) for kind in LINKS if kind in asked]
        if "uid" in asked:
            try:
                found = [procedure_steps.find(store, asked["uid"])]
            except Refused as refused:
                raise Problem(404, refused.words) from None
        elif named:
            found = procedure_steps.linked(store, *named[0])[:limit]
        else:
            found = procedure_steps.recent(store, limit)
        return _json([_step(step) for step in found])

    async def list_notifications(request: Request) -> Response:
        asked = request.query_params
        _check_known(asked, "study", "limit")
        found = availability.listed(store, asked.get("study"), _limit(asked))
        return _json([_notification(each) for each in found])

    return [
        Route("/api/jobs", list_jobs),
        Route(PROCEDURE_STEPS, list_steps),
        Route(AVAILABILITY, list_notifications),
    ]


def _limit(asked: QueryParams) -> int:
    """Rows of an answer. Raises: Problem 400."""
    check_once(asked, ("limit",))
    limit = uint("limit", asked.get("limit", str(USUAL)))
    if not 1 <= limit <= MOST:
        raise Problem(400, f"limit is {shown(asked['limit'])}; 1 to {MOST} wanted")
    return limit


def _states(asked: QueryParams) -> tuple[State, ...]:
    """Raises: Problem 400."""
    try:
        return tuple(State(name) for name in asked.getlist("state"))
    except ValueError as error:
        raise Problem(400, f"{error}; one of {', '.join(state.value for state in State)} wanted") from None


def _check_known(asked: QueryParams, *known: str) -> None:
    """Raises: Problem 400, for a parameter that is none of these."""
    if unknown := set(asked) - set(known):
        raise Problem(400, f"{min(unknown)!r} is none of {', '.join(known[:-1])} and {known[-1]}")


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
