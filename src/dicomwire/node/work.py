"""The node's work: its store, the services on it, the jobs that follow."""

from __future__ import annotations

import asyncio

import structlog

from dicomwire.archive.archive import Archive
from dicomwire.association.performer import Services
from dicomwire.association.words import printable
from dicomwire.errors import ConfigurationError, WorkError
from dicomwire.node.settings import Settings
from dicomwire.services import procedure_step
from dicomwire.services.move import Destinations
from dicomwire.services.storage_commitment import Committer, receiving
from dicomwire.work.commitment import Result as Commitment
from dicomwire.work.jobs import Kind, Retry
from dicomwire.work.procedure_steps import Followers
from dicomwire.work.runner import Runner, RunnerOptions
from dicomwire.work.store import Store, open_store

log = structlog.get_logger()


class Work:
    """What a node does beside storing: opened with the data folder, run in the node's loop."""

    def __init__(self, settings: Settings, archive: Archive, destinations: Destinations) -> None:
        """Open the store of work.

        Raises: ConfigurationError, when it cannot be opened.
        """
        self._settings = settings
        self._destinations = destinations
        self.store = _opened(settings)
        same_association = settings.commitment.same_association
        self._committer = Committer(self.store, archive, destinations, same_association=same_association)
        self._runner: Runner | None = None

    def services(self) -> Services:
        """What peers may ask for."""
        mpps = self._settings.mpps
        return {
            **procedure_step.services(self.store, Followers(mpps.forward, mpps.notify)),
            **self._committer.services(),
            **receiving(_log_commitment, durably=self.store),
        }

    async def start(self) -> None:
        """Answer in this loop, and run jobs."""
        self.store.start(asyncio.get_running_loop())
        self._runner = Runner(self.store, self._kinds(), runner_options(self._settings))
        await self._runner.start()

    async def stop(self, grace: float) -> None:
        """Let jobs under way finish for the grace time, then close the store."""
        if self._runner is not None:
            await self._runner.stop(grace)
        await self.store.stop()

    def _kinds(self) -> dict[str, Kind]:
        return {**procedure_step.kinds(self._destinations), **self._committer.kinds()}


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


def _opened(settings: Settings) -> Store:
    try:
        return open_store(settings.node.data)
    except WorkError as error:
        raise ConfigurationError(f"node.data: {error}") from None
