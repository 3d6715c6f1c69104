"""Worker processes for what hostile bytes may do to a codec: crash, hang, or eat memory.

A worker has one job at a time, limits of its own on memory and processor time, and a deadline that each
frame renews. One that dies or overruns fails its job and is replaced; the node lives on.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from dicomwire.archive.jobs import ANSWER, GONE, LAST, MISSING, OK, PROGRESS, REQUEST, Job, format_of
from dicomwire.archive.room import Room
from dicomwire.errors import CodecsMissing, TranscodingError, WorkersBusy

log = structlog.get_logger()

_COMMAND: Final = "import sys; from dicomwire.archive.pixel_worker import main; main(*map(int, sys.argv[1:]))"
_BUFFER: Final = 2 << 20  # bytes of an answer that a worker need not wait with for the node
_END: Final = 2.0  # seconds for a worker to end by itself
_COUNTED: Final = 8 << 20  # bytes; jobs that take less run whenever a worker is free


# One thread a worker; glibc gives blocks of large images back to the system as soon as they are free
_ENVIRONMENT: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 20),
}


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How worker processes are run.

    Attributes:
        processes: at most so many, started when needed.
        memory: bytes that one may allocate; mapped files do not count.
        together: bytes that the large jobs of all may take at once; one that takes more runs as the only one.
        processor_time: seconds of one frame's work.
        timeout: seconds without an answer or a sign of progress.
        waiting: jobs that may wait for a worker; beyond it WorkersBusy.
        answer_limit: bytes of one answer.
    """

    processes: int = field(default_factory=lambda: max(2, min(os.cpu_count() or 1, 8)))
    memory: int = 2 << 30
    together: int = 64 << 20
    processor_time: int = 30
    timeout: float = 120.0
    waiting: int = 1_000
    answer_limit: int = 1 << 30


class WorkerPool:
    """Workers of one event loop."""

    def __init__(self, options: WorkerOptions | None = None, spool: Path | None = None) -> None:
        """spool: the folder for large images on their way; None for the system's one."""
        self.options = options or WorkerOptions()
        self._spool = spool
        self._idle: list[_Worker] = []
        self._running: set[asyncio.Task[bytearray]] = set()
        self._queued: set[asyncio.Task[bytearray]] = set()  # those that wait for a worker
        self._slots: asyncio.Semaphore | None = None
        self._room = Room(self.options.together)
        self._waiting = 0
        self._closed = False
        self._workers: set[_Worker] = set()
        weakref.finalize(self, _end_all, self._workers)  # for a pool that nobody closed

    async def run(self, job: Job, descriptors: Sequence[int] = (), *, footprint: int = 0) -> bytearray:
        """The answer to a job; once begun it is finished, though nobody waits for it any more.

        footprint: bytes of memory that it will take.
        descriptors: open files that go with it; the worker has copies of its own.
        Raises: TranscodingError, in words, also when the worker died or overran; WorkersBusy;
            FileNotFoundError, when the source is gone.
        """
        if self._closed:
            raise WorkersBusy("the node is stopping")
        if self._waiting >= self.options.waiting:
            raise WorkersBusy(f"{self._waiting} images wait to be decoded already")
        task = asyncio.create_task(self._run(job, [os.dup(each) for each in descriptors], footprint))
        self._running.add(task)
        self._queued.add(task)
        task.add_done_callback(self._finished)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task in self._queued:
                task.cancel()
            raise

    async def close(self) -> None:
        """End all workers, those at work too."""
        self._closed = True
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(list(self._running), timeout=_END)
        idle, self._idle = self._idle, []
        self._workers.clear()
        await asyncio.gather(*(asyncio.to_thread(worker.end) for worker in idle))

    def _finished(self, task: asyncio.Task[bytearray]) -> None:
        self._running.discard(task)
        self._queued.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be left to ask for it

    async def _run(self, job: Job, descriptors: list[int], footprint: int) -> bytearray:
        if self._slots is None:
            self._slots = asyncio.Semaphore(self.options.processes)
        try:
            async with AsyncExitStack() as held:
                self._waiting += 1
                try:
                    if footprint > _COUNTED:
                        await held.enter_async_context(self._room.taken(footprint))
                    await held.enter_async_context(self._slots)
                finally:
                    self._waiting -= 1
                if footprint > self.options.together // 2:
                    await self._make_place()
                task = asyncio.current_task()
                assert task is not None
                self._queued.discard(task)
                return await self._run_in_worker(job, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    async def _make_place(self) -> None:
        """End the workers that a job does not need; each holds memory while it is idle."""
        idle, self._idle = self._idle[:-1], self._idle[-1:]
        self._workers.difference_update(idle)
        await asyncio.gather(*(asyncio.to_thread(worker.end) for worker in idle))

    async def _run_in_worker(self, job: Job, descriptors: list[int]) -> bytearray:
        worker = self._idle.pop() if self._idle else await asyncio.to_thread(self._started)
        healthy = False
        try:
            kind, answer = await worker.ask(job, descriptors)
            healthy = not kind & LAST
            if not healthy:
                await asyncio.to_thread(worker.end)
        except TimeoutError:
            raise TranscodingError(f"not done within {self.options.timeout:g} s; given up") from None
        except (OSError, EOFError):
            status = await asyncio.to_thread(worker.end)
            log.warning("worker.died", status=status, format=format_of(job))
            raise TranscodingError(f"the worker that decoded it {_died(status)}") from None
        finally:
            if healthy and not self._closed:
                self._idle.append(worker)
            else:
                self._workers.discard(worker)
                worker.kill()
        return _judged(kind & ~LAST, answer)

    def _started(self) -> _Worker:
        worker = _Worker(self.options, self._spool)
        self._workers.add(worker)
        return worker


class _Worker:
    """One process and the socket to it."""

    def __init__(self, options: WorkerOptions, spool: Path | None) -> None:
        self._options = options
        self._socket, other = socket.socketpair()
        self._socket.setblocking(False)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        environment = {**os.environ, **_ENVIRONMENT}
        if spool is not None:
            with suppress(OSError):  # without it the system's folder is taken
                spool.mkdir(exist_ok=True)
            environment["TMPDIR"] = str(spool)
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        with other:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-c", _COMMAND),
                    *map(str, (other.fileno(), options.memory, options.processor_time)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # codecs write what they think of an image
                pass_fds=[other.fileno()],
                env=environment,
                start_new_session=True,  # a terminal's interrupt is for the node, which ends its workers
            )

    async def ask(self, job: Job, descriptors: Sequence[int]) -> tuple[int, bytearray]:
        """What came of a job. Raises: TimeoutError, OSError, EOFError, when the worker did not answer."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._options.timeout) as deadline:
            request = pickle.dumps(job, pickle.HIGHEST_PROTOCOL)
            head = REQUEST.pack(len(request))
            if descriptors:
                socket.send_fds(self._socket, [head], descriptors)
                await loop.sock_sendall(self._socket, request)
            else:
                await loop.sock_sendall(self._socket, head + request)
            while True:
                kind, length = ANSWER.unpack(await self._receive(loop, ANSWER.size))
                if kind != PROGRESS:
                    break
                deadline.reschedule(loop.time() + self._options.timeout)
            if length > self._options.answer_limit:
                raise EOFError
            return kind, await self._receive(loop, length)

    async def _receive(self, loop: asyncio.AbstractEventLoop, length: int) -> bytearray:
        data = bytearray(length)
        view, received = memoryview(data), 0
        while received < length:
            count = await loop.sock_recv_into(self._socket, view[received:])
            if not count:
                raise EOFError
            received += count
        return data

    def kill(self) -> None:
        self._process.kill()
        self._socket.close()
        self._process.wait()

    def end(self) -> int:
        """Let the process end, for a while; blocking. Returns: its exit status."""
        self._socket.close()
        try:
            return self._process.wait(_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _end_all(workers: set[_Worker]) -> None:
    for worker in workers:
        worker.kill()


def _judged(kind: int, answer: bytearray) -> bytearray:
    if kind == OK:
        return answer
    words = answer.decode("utf-8", "replace")
    if kind == GONE:
        raise FileNotFoundError(words)
    if kind == MISSING:
        raise CodecsMissing(words)
    raise TranscodingError(words)


def _died(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = str(-status)
    if name == "SIGXCPU":
        return "used up its processor time"
    return f"was ended by {name}"
