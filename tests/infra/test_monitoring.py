"""Dashboard and alerts ask for what `/metrics` tells, and the guide explains each of them."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import promql_parser as promql
import pytest
import yaml  # type: ignore[import-untyped]
from prefect.client.orchestration import SyncPrefectClient
from prometheus_client.parser import text_string_to_metric_families

from intake.control.batches import count_by_state
from intake.control.queues import Queue
from intake.http.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
BOARD: dict[str, Any] = json.loads((ROOT / "infra/grafana/facecrop.json").read_text("utf-8"))
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "infra/grafana/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
GUIDE = (ROOT / "docs/operate/monitoring.md").read_text("utf-8")
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
VARIABLES = {one["name"]: one for one in BOARD["templating"]["list"]}
OF_PROMETHEUS = {"job", "instance"}  # it adds them to whatever it is told


class NoBatches:
    """A Prefect server that has none."""

    def count_flow_runs(self, **_: object) -> int:
        return 0


def exposed() -> dict[str, dict[str, set[str]]]:
    """What the service tells: the values of each label of each series."""
    metrics = Metrics()
    metrics.observe("GET", "/api/batches", 200, 0.1)
    metrics.observe("GET", "/api/batches", 503, 0.1)
    batches = count_by_state(cast(SyncPrefectClient, NoBatches()))
    text = metrics.render([Queue("facecrop-process", "priority-1", 1, False)], batches).decode()
    found: dict[str, dict[str, set[str]]] = {"up": {}}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                values.setdefault(label, set()).add(value)
    return found


TOLD = exposed()


def parts(query: str) -> list[promql.Expr]:
    """A query, and all that it is made of."""
    found: list[promql.Expr] = []
    promql.walk(promql.parse(query), found.append)
    return found


def faults(query: str) -> list[str]:
    """What a query asks for that nobody tells."""
    for name in VARIABLES:
        query = query.replace(f"${name}", ".*" if name == "pool" else "facecrop")
    found, labels = [], {*OF_PROMETHEUS}
    for selector in parts(query):
        if not isinstance(selector, promql.VectorSelector):
            continue
        told = TOLD.get(selector.name or "")
        if told is None:
            found.append(f"no series {selector.name}")
            continue
        labels |= told.keys()
        for matcher in selector.matchers.matchers:
            if matcher.name in OF_PROMETHEUS:
                continue
            values = told.get(matcher.name, set())
            wanted = [matcher.value]
            if matcher.op == promql.MatchOp.Re:
                wanted = matcher.value.split("|")
            for one in wanted:
                if not any(re.fullmatch(one, value) for value in values):
                    found.append(f"no {matcher.name} {one} of {selector.name}")
    for part in parts(query):
        if isinstance(part, promql.AggregateExpr) and part.modifier is not None:
            found += [f"no label {label}" for label in set(part.modifier.labels) - labels]
    return found


QUERIES = [
    *(
        pytest.param(target["expr"], id=f"{panel['title']}-{target['refId']}")
        for panel in PANELS
        for target in panel["targets"]
    ),
    *(pytest.param(rule["expr"], id=rule["alert"]) for rule in RULES),
]


@pytest.mark.parametrize("query", QUERIES)
def test_every_series_and_label_is_told(query: str) -> None:
    assert faults(query) == []


@pytest.mark.parametrize(
    "query",
    [
        "facecrop_batch",
        'facecrop_batches{state="done"}',
        'facecrop_batches{state=~"failed|done"}',
        'facecrop_batches{pool="x"}',
        "sum by (queue) (facecrop_batches)",
        "sum(rate(facecrop_http_requests[5m])) / 2",
        "1 - max(max by (pool) (facecrop_queue_wait_seconds))",
    ],
)
def test_a_query_for_what_nobody_tells_is_found(query: str) -> None:
    assert faults(query)


def test_the_choices_are_those_of_what_is_told() -> None:
    for one in VARIABLES.values():
        if one["type"] == "query":
            asked = re.fullmatch(r"label_values\((\w+)(\{.*\})?, (\w+)\)", one["query"]["query"])
            assert asked is not None
            assert faults(asked[1] + (asked[2] or "")) == []
            assert asked[3] in {*TOLD[asked[1]], *OF_PROMETHEUS}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(BOARD)))
    assert used == set(VARIABLES)


def test_a_legend_has_the_labels_of_its_lines() -> None:
    for panel in PANELS:
        for target in panel["targets"] if panel["type"] == "timeseries" else ():
            by = re.search(r" by \(([^)]*)\)", target["expr"])
            kept = set(re.findall(r"\w+", by[1] if by else "")) - {"le"}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) == kept


def test_panels_lie_beside_one_another() -> None:
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        assert (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )


def test_alerts_name_labels_that_they_have() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning")
        named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        outer = re.match(r"\w+ by \(([^)]*)\)", rule["expr"])
        assert named <= set(re.findall(r"\w+", outer[1] if outer else ""))


def test_the_guide_explains_each() -> None:
    for name in [panel["title"] for panel in PANELS] + [rule["alert"] for rule in RULES]:
        assert f"| {name} |" in GUIDE or f"| `{name}` |" in GUIDE, name
