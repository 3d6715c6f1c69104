"""The archive against a model of it: whatever happens in whatever order, what was answered is there."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dicomwire.archive import arrival, committer, segments, spool
from dicomwire.archive.archive import Archive, ArchiveOptions, Verdict
from dicomwire.archive.committer import Committer
from dicomwire.archive.maintenance import verify
from tests.archive.test_archive import data_set, lose_catalogue, offer

UIDS = [f"1.2.{number}" for number in range(4)]
SIZES = {"small": 64, "log": 3000, "own": 20_000}  # the last is beyond what shares a segment
contents = st.tuples(st.sampled_from(["P1", "P2", "P3"]), st.sampled_from(sorted(SIZES)))


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Space is reserved and zeroed in kilobytes, so that a thousand segments cost nothing."""
    monkeypatch.setattr(segments, "EXTENT", 1 << 16)
    monkeypatch.setattr(committer, "EXTENT", 1 << 16)
    monkeypatch.setattr(segments, "_ZEROS_AHEAD", 0)


@contextmanager
def full_disk(writes: int) -> Iterator[None]:
    """A disk that takes some more writes, and of the next one only half."""
    write_all = segments.write_all

    def full(descriptor: int, buffers: Sequence[bytes], offset: int) -> int:
        nonlocal writes
        if writes:
            writes -= 1
            return write_all(descriptor, buffers, offset)
        whole = b"".join(buffers)
        write_all(descriptor, [whole[: len(whole) // 2]], offset)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patched:
        for module in (segments, committer, arrival, spool):
            patched.setattr(module, "write_all", full)
        yield


class ArchiveMachine(RuleBasedStateMachine):
    """`model` holds the versions of each UID, the oldest first; the first is the current one."""

    @initialize(policy=st.sampled_from(["keep", "replace", "reject"]))
    def begin(self, policy: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.root = Path(tempfile.mkdtemp(prefix="archive"))
        self.lives = 0
        self.options = ArchiveOptions(
            policy,  # type: ignore[arg-type]
            segment_size=8192,
            large=10_000,
            free_space=0,
        )
        self.model: dict[str, list[bytes]] = {}
        self.older: Path | None = None
        self.archive: Archive | None = None
        self.open(self.root / "0")

    def open(self, folder: Path, *, rebuild: bool = False) -> None:
        self.archive = Archive.open(folder, self.options, rebuild=rebuild)
        self.archive.start(self.loop)
        torn = [found for found in self.archive.damage if found.reason.endswith("are no whole batch")]
        assert list(self.archive.damage) == torn  # a batch cut by a full disk is told where nothing is cut

    def teardown(self) -> None:
        if getattr(self, "archive", None) is not None:
            assert self.archive is not None
            self.archive.close()
            assert list(verify(self.archive.data)) == []
            self.loop.close()
            shutil.rmtree(self.root)

    def expect(self, uid: str, data: bytes) -> Verdict:
        """What the archive must answer; the model follows."""
        versions = self.model.get(uid, [])
        if data in versions:
            return Verdict.ALREADY_STORED if data == versions[0] else Verdict.CONFLICT
        if not versions:
            self.model[uid] = [data]
            return Verdict.STORED
        if self.options.duplicates == "reject":
            return Verdict.DUPLICATE_REJECTED
        if self.options.duplicates == "replace":
            self.model[uid] = [data]
            return Verdict.REPLACED
        versions.append(data)
        return Verdict.CONFLICT

    @rule(uid=st.sampled_from(UIDS), content=contents)
    def store(self, uid: str, content: tuple[str, str]) -> None:
        data = data_set(uid, patient=content[0], pixels=SIZES[content[1]])
        outcome = self.loop.run_until_complete(offer(self.archive, data, uid))
        assert outcome.verdict is self.expect(uid, data)

    @rule(some=st.lists(st.tuples(st.sampled_from(UIDS), contents), min_size=2, max_size=6))
    def store_at_once(self, some: list[tuple[str, tuple[str, str]]]) -> None:
        """Instances of different UIDs, of which nobody knows the order in which they arrive."""
        every = {uid: data_set(uid, patient=who, pixels=SIZES[size]) for uid, (who, size) in some}

        async def all_of_them() -> list[Verdict]:
            coming = [offer(self.archive, data, uid) for uid, data in every.items()]
            return [outcome.verdict for outcome in await asyncio.gather(*coming)]

        verdicts = self.loop.run_until_complete(all_of_them())
        assert verdicts == [self.expect(uid, data) for uid, data in every.items()]

    @rule(uid=st.sampled_from(UIDS))
    def remove_current(self, uid: str) -> None:
        self.archive.remove(self.archive.plan(instance=uid))
        if self.model.get(uid):
            del self.model[uid][0]

    @rule(least_waste=st.sampled_from([0.05, 0.4, 0.7]))
    def compact(self, least_waste: float) -> None:
        """A compaction is on the disk when it ends: older catalogues are none that a crash could leave."""
        self.archive.compact(least_waste)
        self.older = None

    @rule(steps=st.integers(0, 4))
    def kill_during_compaction(self, steps: int) -> None:
        """After each of its steps: planned, copied, unlinked."""
        call = Committer.call

        def killed_later(committer: Committer, run: Callable[[], object]) -> object:
            nonlocal steps
            if not steps:
                raise KeyboardInterrupt
            steps -= 1
            return call(committer, run)

        with pytest.MonkeyPatch.context() as patched, suppress(KeyboardInterrupt):
            patched.setattr(Committer, "call", killed_later)
            self.archive.compact(0.05)
        self.crash()

    @rule(writes=st.integers(0, 3))
    def compact_on_a_full_disk(self, writes: int) -> None:
        with full_disk(writes), suppress(OSError):
            self.archive.compact(0.05)
        self.older = None

    @rule(uid=st.sampled_from(UIDS), content=contents)
    def store_on_a_full_disk(self, uid: str, content: tuple[str, str]) -> None:
        data = data_set(uid, patient=content[0], pixels=SIZES[content[1]])
        before = {known: list(versions) for known, versions in self.model.items()}
        expected = self.expect(uid, data)
        with full_disk(0):
            outcome = self.loop.run_until_complete(offer(self.archive, data, uid))
        if self.model == before and expected is not Verdict.DUPLICATE_REJECTED:
            assert outcome.verdict in (expected, Verdict.OUT_OF_RESOURCES)
        else:
            self.model = before
            assert outcome.verdict in (Verdict.OUT_OF_RESOURCES, Verdict.DUPLICATE_REJECTED)

    @rule(uid=st.sampled_from(UIDS))
    def remove_on_a_full_disk(self, uid: str) -> None:
        if plan := self.archive.plan(instance=uid):
            with full_disk(0), pytest.raises(OSError, match="No space"):
                self.archive.remove(plan)

    @rule()
    def remember_the_catalogue(self) -> None:
        """As a power cut would leave it: commits are not synced, only compaction's are."""
        self.older = self.root / f"older{self.lives}"
        shutil.rmtree(self.older, ignore_errors=True)
        self.older.mkdir()
        for file in self.archive.data.glob("catalogue.sqlite*"):
            shutil.copy(file, self.older)

    @rule()
    def stop_and_start(self) -> None:
        self.archive.close()
        self.open(self.archive.data)

    @rule()
    def rebuild(self) -> None:
        self.archive.close()
        self.older = None
        self.open(self.archive.data, rebuild=True)

    def crash(self, prepare: object = None) -> None:
        """Go on with a copy of the folder as it is now, not closed in any way."""
        self.lives += 1
        folder = self.root / str(self.lives)
        shutil.copytree(self.archive.data, folder)
        if callable(prepare):
            prepare(folder)
        self.archive.close()
        shutil.rmtree(self.archive.data)
        self.older = None
        self.open(folder)

    @rule()
    def kill(self) -> None:
        self.crash()

    @rule()
    def kill_and_lose_the_catalogue(self) -> None:
        self.crash(lose_catalogue)

    @precondition(lambda self: self.older is not None)
    @rule()
    def cut_power(self) -> None:
        older = self.older

        def older_catalogue(folder: Path) -> None:
            lose_catalogue(folder)
            for file in older.iterdir():
                shutil.copy(file, folder)

        self.crash(older_catalogue)

    @invariant()
    def all_that_was_answered_is_there(self) -> None:
        if getattr(self, "archive", None) is None:
            return
        held: dict[str, list[bytes]] = {}
        for stored in self.archive.plan_all():
            with self.archive.open_stored(stored) as opened:
                data = bytes(opened.view[stored.data_set_offset :])
            held.setdefault(stored.sop_instance_uid, []).append(data)
        assert held == {uid: versions for uid, versions in self.model.items() if versions}
        current = {stored.sop_instance_uid: stored.record_id for stored in self.archive.plan()}
        first: dict[str, int] = {}
        for stored in self.archive.plan_all():
            first.setdefault(stored.sop_instance_uid, stored.record_id)
        assert current == first
        stats = self.archive.stats()
        assert stats.instances == len(held)
        assert stats.conflicts == sum(map(len, held.values())) - len(held)


@pytest.mark.usefixtures("small_segments")
class TestArchive(ArchiveMachine.TestCase):  # type: ignore[misc]
    settings = settings(
        max_examples=20,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
