"""What Prometheus reads of a server; a registry of its own, so that two servers in one process do not mix."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counts, times and sizes. `model` is a recipe's name: a series goes on when its model changes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        here = self.registry
        self.requests = Counter(
            "goldloop_requests", "Requests by path and status.", ["path", "status"], registry=here
        )
        self.seconds = Histogram(
            "goldloop_request_seconds", "Time of a request.", ["path"], buckets=_SECONDS, registry=here
        )
        self.under_way = Gauge(
            "goldloop_requests_under_way", "Requests that are being answered.", registry=here
        )
        self.items = Counter(
            "goldloop_items", "Images or texts by what came of them.", ["model", "outcome"], registry=here
        )
        self.waiting = Gauge("goldloop_waiting_items", "Images or texts that wait.", registry=here)
        self.batch_items = Histogram(
            "goldloop_batch_items", "Examples of one pass.", ["model"], buckets=_SIZES, registry=here
        )
        self.batch_seconds = Histogram(
            "goldloop_batch_seconds", "Time of one pass.", ["model"], buckets=_SECONDS, registry=here
        )
        self.serves = Gauge(
            "goldloop_model_info", "1 for each model that answers.", ["name", "model"], registry=here
        )
        self.swaps = Counter(
            "goldloop_swaps", "Changes of the model behind a name.", ["name", "outcome"], registry=here
        )
        self.samples = Counter(
            "goldloop_samples",
            "Images or texts that might be kept as items, by what came of them.",
            ["name", "outcome"],
            registry=here,
        )
        self.hints = Counter(
            "goldloop_webhooks", "Webhooks of Label Studio.", ["name", "action"], registry=here
        )
        self.jobs = Counter(
            "goldloop_jobs", "Work that webhooks led to, by outcome.", ["job", "outcome"], registry=here
        )

    def text(self) -> bytes:
        """All of it in Prometheus' own form."""
        return generate_latest(self.registry)
