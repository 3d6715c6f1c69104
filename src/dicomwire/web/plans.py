"""Which stored instances a request's path names (PS3.18 10.4.1)."""

from __future__ import annotations

from starlette.requests import Request

from dicomwire.archive.archive import Archive, Stored
from dicomwire.web.problems import Problem
from dicomwire.web.resources import instance_url, optional_uid, uid


def planned(request: Request, archive: Archive, *, every_version: bool = False) -> list[Stored]:
    """The instances of the study, series or instance in the request's path, in the archive's order.

    every_version: with those of an instance that are not its current one.
    Raises: Problem 400, when a UID is none; as `absent`, when there are no such instances.
    """
    study, series = uid(request, "study"), optional_uid(request, "series")
    instance = optional_uid(request, "instance")
    plan = archive.plan(study=study, series=series, instance=instance, every_version=every_version)
    if plan:
        return plan
    raise absent(archive, study, series, instance)


def absent(archive: Archive, study: str, series: str | None = None, instance: str | None = None) -> Problem:
    """410 for what was removed, 404 for what never was here (PS3.18 8.5)."""
    what = f"study {study}"
    if series:
        what = f"series {series} in {what}"
    if instance:
        what = f"instance {instance} in {what}"
    if archive.was_removed(study, series, instance):
        return Problem(410, f"{what} was removed")
    return Problem(404, f"there is no {what}")


def instance_url_of(base: str, stored: Stored) -> str:
    """Where a stored instance is retrieved."""
    return instance_url(
        base,
        study=stored.study_instance_uid,
        series=stored.series_instance_uid,
        instance=stored.sop_instance_uid,
    )
