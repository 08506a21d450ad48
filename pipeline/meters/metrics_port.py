"""Metrics of this process, served on a port in Prometheus' format. For runs on one machine.

Does not know what the metrics mean.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from quire.config.extras import METRICS_PORT, install
from quire.config.sections import MetricsSettings
from quire.errors import ConfigError, MissingDependency
from quire.meters.metrics import METRICS, Metric, Report, report_nothing


@contextmanager
def metrics_port(settings: MetricsSettings, run: str) -> Generator[Report]:
    """Serves while it is open; reports nothing without a port. Reports have the label `run`. Raises `ConfigError` if
    the port is taken, `MissingDependency` without prometheus-client."""
    if not settings.port:
        yield report_nothing
        return
    try:
        import prometheus_client
    except ImportError as exc:
        raise MissingDependency(f"--metrics-port needs prometheus-client: {install([METRICS_PORT])}") from exc
    registry = prometheus_client.CollectorRegistry()
    instruments = {name: _instrument(prometheus_client, metric, registry) for name, metric in METRICS.items()}

    def report(name: str, value: float, *labels: str) -> None:
        instruments[name](run, *labels)(value)

    try:
        server, thread = prometheus_client.start_http_server(settings.port, settings.host, registry)
    except OSError as exc:
        raise ConfigError(
            f"cannot serve metrics on {settings.host}:{settings.port}: {exc.strerror}; choose another metrics.port"
        ) from exc
    try:
        yield report
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _instrument(library: Any, metric: Metric, registry: Any) -> Any:
    """Label values → the method that takes a value."""
    keys = ("run", *metric.labels)
    match metric.kind:
        case "counter":
            counter = library.Counter(metric.name, metric.help, keys, registry=registry)
            return lambda *labels: counter.labels(*labels).inc
        case "gauge":
            gauge = library.Gauge(metric.name, metric.help, keys, registry=registry)
            return lambda *labels: gauge.labels(*labels).set
        case "histogram":
            made = library.Histogram(metric.name, metric.help, keys, registry=registry, buckets=metric.buckets)
            return lambda *labels: made.labels(*labels).observe
