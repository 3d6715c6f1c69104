"""The node's work: its store, the services on it, the jobs that follow."""

from __future__ import annotations

import asyncio

import structlog

from dicomwire.archive.archive import Archive
from dicomwire.archive.transcoder import Transcoder
from dicomwire.association.performer import Services
from dicomwire.association.words import printable
from dicomwire.errors import ConfigurationError, WorkError
from dicomwire.node.mllp import Listener
from dicomwire.node.settings import Settings
from dicomwire.node.work_settings import RouteSettings
from dicomwire.node.worklist_folder import Folder
from dicomwire.services import forwarding, instance_availability, procedure_step, worklist
from dicomwire.services.forwarding import Router
from dicomwire.services.move import Destinations
from dicomwire.services.storage_commitment import Committer, receiving
from dicomwire.services.unified_procedure_step import Scheduler
from dicomwire.work import availability, commitment, ups, ups_events
from dicomwire.work.commitment import Result as Commitment
from dicomwire.work.jobs import Kind, Retry, counts
from dicomwire.work.procedure_steps import Followers
from dicomwire.work.routes import Notices, Route
from dicomwire.work.runner import Runner, RunnerOptions
from dicomwire.work.store import Store, Transaction, open_store

KEPT = 90 * 86_400.0  # seconds that what is over can be looked up: commitments, notifications, deleted UPS

log = structlog.get_logger()


class Work:
    """What a node does beside storing: opened with the data folder, run in the node's loop."""

    def __init__(
        self,
        settings: Settings,
        archive: Archive,
        transcoder: Transcoder | None,
        destinations: Destinations,
    ) -> None:
        """Open the store of work.

        Raises: ConfigurationError, when it cannot be opened.
        """
        self._settings = settings
        self._archive = archive
        self._transcoder = transcoder
        self._destinations = destinations
        self.store = _opened(settings)
        same_association = settings.commitment.same_association
        self._committer = Committer(self.store, archive, destinations, same_association=same_association)
        self._scheduler = Scheduler(self.store, destinations, settings.ups.policy())
        self.hl7 = Listener(self.store, settings.hl7)
        folder, interval = settings.worklist.folder, settings.worklist.interval
        self._folder = Folder(self.store, folder, interval) if folder is not None else None
        self._runner: Runner | None = None
        self._router: Router | None = None

    def services(self) -> Services:
        """What peers may ask for."""
        mpps = self._settings.mpps
        return {
            **procedure_step.services(self.store, Followers(mpps.forward, mpps.notify)),
            **self._committer.services(),
            **instance_availability.services(self.store),
            **self._scheduler.services(),
            **worklist.services(self.store, self._settings.worklist.hide),
            **receiving(_log_commitment, durably=self.store),
        }

    def jobs(self) -> dict[str, int]:
        """How many jobs there are of each state."""
        return {state.value: count for state, count in counts(self.store).items()}

    async def start(self) -> None:
        """Answer in this loop, and run jobs."""
        self.store.start(asyncio.get_running_loop())
        self._runner = Runner(self.store, self._kinds(), runner_options(self._settings), tidy=self._tidy)
        await self._runner.start()
        await self._scheduler.start()
        chosen = self._settings.availability
        rules = [_route(route) for route in self._settings.routes]
        self._router = Router(self.store, self._archive, rules, Notices(chosen.notify, chosen.quiet))
        await self._router.start()
        if self._folder is not None:
            await self._folder.start()
        await self.hl7.start()

    async def stop(self, grace: float) -> None:
        """Let jobs under way finish for the grace time, then close the store."""
        await self.hl7.stop()
        if self._folder is not None:
            await self._folder.stop()
        if self._router is not None:
            await self._router.stop()
        if self._runner is not None:
            await self._scheduler.stop(grace)
            await self._runner.stop(grace)
        await self.store.stop()

    def _tidy(self, change: Transaction, now: float) -> None:
        commitment.prune(change, now - KEPT)
        availability.prune(change, now - KEPT)
        ups.prune(change, now - self._settings.ups.keep, now)
        ups.forget(change, now - KEPT)
        ups_events.prune(change, now - KEPT)

    def _kinds(self) -> dict[str, Kind]:
        archive, destinations = self._archive, self._destinations
        ae_title = self._settings.node.ae_title
        return {
            **procedure_step.kinds(destinations),
            **self._committer.kinds(),
            **self._scheduler.kinds(),
            **forwarding.kinds(archive, self._transcoder, destinations),
            **instance_availability.kinds(
                self.store,
                archive,
                destinations,
                ae_title,
                wait_for_steps=self._settings.availability.wait_for_steps,
            ),
        }


def _log_commitment(result: Commitment, now: float) -> None:
    log.info(
        "storage commitment reported",
        transaction_uid=printable(result.transaction_uid),
        committed=len(result.committed),
        failed=len(result.failed),
    )


def runner_options(settings: Settings) -> RunnerOptions:
    """How jobs are run, as configured."""
    chosen = settings.jobs
    retry = Retry(chosen.first_retry, chosen.longest_retry, chosen.give_up)
    return RunnerOptions(retry, chosen.concurrency)


def _route(chosen: RouteSettings) -> Route:
    return Route(
        chosen.destination,
        chosen.calling,
        chosen.called,
        chosen.sop_classes,
        chosen.when,
        commit=chosen.commit,
    )


def _opened(settings: Settings) -> Store:
    try:
        return open_store(settings.node.data)
    except WorkError as error:
        raise ConfigurationError(f"node.data: {error}") from None
