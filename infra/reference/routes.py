"""Every route of the HTTP service, and every metric that it tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prometheus_client.metrics import MetricWrapperBase

from infra.reference.markdown import section, table, title
from intake.http.app import create_app
from intake.http.dependencies import Service
from intake.http.metrics import Metrics
from intake.http.settings import ServiceSettings


def routes() -> Iterator[str]:
    """The page of routes."""
    document = _openapi()
    yield from title(
        "Routes",
        "All routes of `facecrop serve`. `/openapi.json` describes them in full, with the bodies. "
        "Errors are `application/problem+json` with one sentence in `detail`.",
    )
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            yield from section(f"{method.upper()} {path}", route.get("description", ""))
            taken = [
                (f"`{one['name']}`", one["in"], _schema(one["schema"]), one.get("description", ""))
                for one in route.get("parameters", ())
            ]
            for media in route.get("requestBody", {}).get("content", {}):
                taken.append(("the body", "body", f"`{media}`", ""))
            if taken:
                yield from table(("parameter", "in", "values", ""), taken)
            yield from table(
                ("answer", "", ""),
                (
                    (
                        f"`{status}`",
                        ", ".join(f"`{media}`" for media in answer.get("content", ())),
                        answer["description"],
                    )
                    for status, answer in sorted(route["responses"].items())
                    if status not in _common(document)
                ),
            )
    yield from section("Errors", "Any route may answer with these.")
    yield from table(
        ("answer", ""),
        ((f"`{status}`", about) for status, about in sorted(_common(document).items())),
    )


def _openapi() -> dict[str, Any]:
    client = SyncPrefectClient("http://127.0.0.1:4200/api")  # nothing is asked
    service = Service(ServiceSettings(), client, None, stopping=lambda: False, requests=2)
    return create_app(service).openapi()


def _common(document: Mapping[str, Any]) -> dict[str, str]:
    """Answers that every route may give, with their meanings."""
    all_of = [route["responses"] for one in document["paths"].values() for route in one.values()]
    shared = set.intersection(*({(k, v["description"]) for k, v in one.items()} for one in all_of))
    return dict(shared)


def _schema(schema: Mapping[str, Any]) -> str:
    """What a parameter may be."""
    some = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    told = []
    for one in some:
        if "enum" in one:
            told.append(", ".join(f"`{value}`" for value in one["enum"]))
            continue
        bounds = [
            text.format(f"{one[key]:,}")
            for key, text in (
                ("minimum", "at least {}"),
                ("exclusiveMinimum", "above {}"),
                ("maximum", "at most {}"),
            )
            if key in one
        ]
        told.append(", ".join([str(one.get("format", one.get("type", "text"))), *bounds]))
    default = schema.get("default")
    return "; ".join(told) + (f" (`{default}`)" if default not in (None, "") else "")


def metrics() -> Iterator[str]:
    """The page of metrics."""
    yield from title(
        "Metrics",
        "All that `/metrics` tells Prometheus. Those of a process (`facecrop_http_…`) are of the "
        "service that is asked, the others of all that Prefect knows.",
    )
    yield from table(
        ("metric", "type", "labels", ""),
        (
            (
                f"`{family.name}{'_total' if family.type == 'counter' else ''}`",
                family.type,
                ", ".join(f"`{label}`" for label in metric._labelnames),
                family.documentation,
            )
            for metric in vars(Metrics()).values()
            if isinstance(metric, MetricWrapperBase)
            for family in metric.describe()
        ),
    )
