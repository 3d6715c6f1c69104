"""The client for scripts and notebooks: the same calls, each returning when it is done (PS3.4 A, B, C).

Every client has a thread with an event loop of its own, so that it works where a loop is running already, as
in Jupyter. Iterators take one element after the other out of that loop, so nothing is read ahead beyond what
the association buffers. A client is used by one thread at a time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from dicomwire.association.address import Address
from dicomwire.association.options import RequestorOptions
from dicomwire.association.performer import Services
from dicomwire.association.requestor import Context
from dicomwire.services.client import Client, Retrieval
from dicomwire.services.connecting import DEFAULTS, QUERY_DEFAULTS, connect
from dicomwire.services.folder import Written
from dicomwire.services.keys import Query, Value
from dicomwire.services.models import Level, Root
from dicomwire.services.proposals import COMMON_STORAGE, EVERYTHING, QueryOptions, Use
from dicomwire.services.retrieving import Progress

Result = TypeVar("Result")


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="dicomwire", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def wait(self, work: Coroutine[object, object, Result]) -> Result:
        """Run work in the loop and wait for its end; interrupted, it is cancelled."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, elements: AsyncGenerator[Result, None]) -> Iterator[Result]:
        """The elements of an asynchronous generator, one by one."""
        try:
            while True:
                try:
                    yield self.wait(_next(elements))
                except StopAsyncIteration:
                    return
        finally:
            if not self._loop.is_closed():  # collected as garbage when the client has long ended
                self.wait(_close(elements))

    def close(self) -> None:
        """End what still runs, the loop and the thread."""
        self.wait(_end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _next(elements: AsyncGenerator[Result, None]) -> Result:
    return await anext(elements)


async def _close(elements: AsyncGenerator[Result, None]) -> None:
    await elements.aclose()


async def _end() -> None:
    loop = asyncio.get_running_loop()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


@contextmanager
def connect_blocking(
    peer: str | Address,
    port: int | None = None,
    *,
    called_ae_title: str = "",
    calling_ae_title: str = "DICOMWIRE",
    uses: Iterable[Use | str] = EVERYTHING,
    storage: Sequence[str] = COMMON_STORAGE,
    contexts: Iterable[Context | str] = (),
    query_options: QueryOptions = QUERY_DEFAULTS,
    services: Services | None = None,
    options: RequestorOptions = DEFAULTS,
) -> Iterator[BlockingClient]:
    """Open an association for the length of a `with`: released behind it, aborted when it raises.

    Arguments and exceptions are those of `connecting.connect`; `services` run in the client's own thread.
    """
    opening = connect(
        peer,
        port,
        called_ae_title=called_ae_title,
        calling_ae_title=calling_ae_title,
        uses=uses,
        storage=storage,
        contexts=contexts,
        query_options=query_options,
        services=services,
        options=options,
    )
    with ExitStack() as stack:
        loop = Loop()
        stack.callback(loop.close)
        opened = loop.wait(opening.__aenter__())
        try:
            yield BlockingClient(opened, loop)
        except BaseException as error:
            loop.wait(opening.__aexit__(type(error), error, error.__traceback__))
            raise
        loop.wait(opening.__aexit__(None, None, None))


Arguments = ParamSpec("Arguments")


def _waiting(
    call: Callable[Concatenate[Client, Arguments], Coroutine[object, object, Result]],
) -> Callable[Concatenate[BlockingClient, Arguments], Result]:
    """The same call, which returns when it is done."""

    @wraps(call)
    def waiting(self: BlockingClient, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return self._loop.wait(call(self.client, *args, **kwargs))

    return waiting


def _iterating(
    call: Callable[Concatenate[Client, Arguments], AsyncGenerator[Result, None]],
) -> Callable[Concatenate[BlockingClient, Arguments], Iterator[Result]]:
    """The same call, whose elements come one by one."""

    @wraps(call)
    def iterating(
        self: BlockingClient, /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Iterator[Result]:
        return self._loop.iterate(call(self.client, *args, **kwargs))

    return iterating


class BlockingClient:
    """A `Client` whose calls return when they are done; see there for each of them.

    Attributes:
        client: the one behind it, which belongs to the loop in the client's thread.
    """

    def __init__(self, client: Client, loop: Loop) -> None:
        self.client = client
        self._loop = loop

    echo = _waiting(Client.echo)
    find = _iterating(Client.find)
    matches = _iterating(Client.matches)
    worklist = _iterating(Client.worklist)

    def move(
        self,
        destination: str,
        query: Query = None,
        *,
        level: Level | str | None = None,
        root: Root | str | None = None,
        report: Callable[[Progress], None] = lambda progress: None,
        **keys: Value,
    ) -> Progress:
        """Have the peer send instances to another AE.

        Args:
            report: told how far it is, in the client's thread.

        Returns: the final answer.
        """
        moving = self.client.move(destination, query, level=level, root=root, **keys)
        return self._loop.wait(_told(moving, report))

    get = _iterating(Client.get)

    def get_files(
        self,
        folder: Path | str,
        query: Query = None,
        *,
        level: Level | str | None = None,
        root: Root | str | None = None,
        report: Callable[[Written], None] = lambda written: None,
        **keys: Value,
    ) -> Progress:
        """The same into a folder.

        Args:
            report: told of each instance that is written, in the client's thread.

        Returns: the final answer.
        """
        getting = self.client.get_files(folder, query, level=level, root=root, report=report, **keys)
        return self._loop.wait(_told(getting, lambda progress: None))

    store = _waiting(Client.store)
    store_all = _waiting(Client.store_all)
    n_create = _waiting(Client.n_create)
    n_set = _waiting(Client.n_set)
    n_get = _waiting(Client.n_get)
    n_action = _waiting(Client.n_action)
    n_delete = _waiting(Client.n_delete)
    n_event_report = _waiting(Client.n_event_report)
    release = _waiting(Client.release)

    def abort(self) -> None:
        """End the association at once."""
        self._loop.wait(_abort(self.client))


async def _told(retrieval: Retrieval, report: Callable[[Progress], None]) -> Progress:
    async def steps() -> AsyncGenerator[Progress, None]:
        async for step in retrieval:
            report(step)
            yield step

    return await Retrieval(steps())


async def _abort(client: Client) -> None:
    client.abort()
