"""Metrics for Prometheus: gathered when somebody asks, so that hot paths pay for two counters only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicomwire.association.performer import Request, Service, Services, Sink
from dicomwire.node.facts import Facts

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The node's metrics; prometheus-client is loaded at the first scrape."""

    def __init__(self, facts: Callable[[], Facts]) -> None:
        self._facts = facts
        self._registry: CollectorRegistry | None = None

    def exposition(self) -> bytes:
        """All metrics in the text format."""
        from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest

        if self._registry is None:
            self._registry = CollectorRegistry()
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)
            self._registry.register(self)
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What prometheus-client asks of a collector."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        facts = self._facts()
        held = facts.archive
        yield GaugeMetricFamily("dicomwire_ready", "1 while the node serves", facts.state == "ready")
        yield GaugeMetricFamily("dicomwire_uptime_seconds", "Seconds since it serves", facts.uptime_seconds)
        yield GaugeMetricFamily("dicomwire_associations", "Open associations", len(facts.associations))
        yield GaugeMetricFamily("dicomwire_archive_studies", "Studies held", held.studies)
        yield GaugeMetricFamily("dicomwire_archive_series", "Series held", held.series)
        yield GaugeMetricFamily("dicomwire_archive_instances", "Instances held", held.instances)
        yield GaugeMetricFamily("dicomwire_archive_bytes", "Bytes of the instances held", held.bytes)
        jobs = GaugeMetricFamily("dicomwire_jobs", "Durable jobs", labels=["state"])
        for state, count in facts.jobs.items():
            jobs.add_metric([state], count)
        yield jobs
        requests = CounterMetricFamily(
            "dicomwire_dimse_requests", "DIMSE requests performed", labels=["message"]
        )
        for message, count in facts.performed.items():
            requests.add_metric([message], count)
        yield requests
        sent = CounterMetricFamily(
            "dicomwire_retrieved_instances", "Sub-operations of C-MOVE and C-GET", labels=["outcome"]
        )
        for outcome, count in facts.sent.items():
            sent.add_metric([outcome], count)
        yield sent
        answered = CounterMetricFamily("dicomwire_web_requests", "HTTP requests answered", labels=["status"])
        for status, count in facts.web_requests.items():
            answered.add_metric([status], count)
        yield answered


class Answered:
    """ASGI middleware that counts answers by class of status: `2xx`."""

    def __init__(self, app: ASGIApp, counts: Counter[str]) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._counts[f"{message['status'] // 100}xx"] += 1
            await send(message)

        await self._app(scope, receive, counting)


def counted(services: Services, counts: Counter[str]) -> Services:
    """The same services, each request counted by its message."""
    return {
        (abstract_syntax, message): partial(_count, service, message.name.removesuffix("-RQ"), counts)
        for (abstract_syntax, message), service in services.items()
    }


def _count(
    service: Service, message: str, counts: Counter[str], request: Request
) -> Sink | Coroutine[None, None, None] | None:
    counts[message] += 1
    return service(request)
