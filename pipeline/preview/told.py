"""An estimate in words: the same for a terminal, a run's page and the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pipeline.preview.estimate import Estimate, Figure, Way
from pipeline.preview.schedule import Schedule
from pipeline.progress import duration, size_of

_DIGITS = 3  # that an estimate is told to: more would be noise


class Line(NamedTuple):
    """One figure: what it is of, the estimate, and between which bounds it is; "" for none."""

    label: str
    value: str
    bounds: str = ""


def lines(told: Estimate, plan: Schedule) -> list[Line]:
    """All that is estimated, each kind of failure and of skipped member by itself."""
    return [
        _count("Members", told.members),
        _count("Faces", told.faces),
        *([_count("Faces not kept", told.not_kept)] if told.not_kept.estimate else []),
        _count("Photographs with a face", told.cropped),
        _count("Photographs of nobody", told.no_face),
        *_with_codes("Failures", told.failed, told.errors),
        *_with_codes("Skipped, no photographs", told.skipped, told.skips),
        _line("Time on one core", told.core_seconds, duration, "as measured here"),
        _line(
            f"Time on {_workers(plan.workers, plan.cores)}{_idle(plan)}",
            plan.seconds,
            duration,
            "as measured here",
        ),
        *_by(plan),
        _line("Output", told.output_bytes, size_of, "near enough"),
        _line("Requests to a store, reads", told.requests.reads, _whole, "by the plan"),
        _line("Requests to a store, writes", told.requests.writes, _whole, "by the plan"),
    ]


def way_lines(ways: Sequence[Way]) -> list[tuple[str, str, str, str]]:
    """Profiles side by side, below a head: their faces in the sample and in all, and the time."""
    rows = [("profile", "faces in the sample", "faces in all", "time on one core")]
    for way in ways:
        whole = _count("", way.faces), _line("", way.core_seconds, duration, "as measured here")
        faces, spent = (f"{one.value} ({one.bounds})" if one.bounds else one.value for one in whole)
        rows.append((way.profile, f"{way.faces_seen:,}", faces, spent))
    return rows


def _with_codes(label: str, whole: Figure, codes: Mapping[str, Figure]) -> Iterator[Line]:
    yield _count(label, whole)
    for code, figure in codes.items():
        yield _count(f"  {code}", figure)


def _by(plan: Schedule) -> Iterator[Line]:
    if plan.by is None:
        return
    label = f"To be done by {plan.by:%Y-%m-%d %H:%M}"
    if plan.workers_by is None:
        yield Line(label, "no number of workers is enough", _most(plan))
        return
    sure = plan.workers_by_surely
    surely = f"{_workers(sure, plan.cores)} surely" if sure else f"not surely: {_most(plan)}"
    yield Line(label, _workers(plan.workers_by, plan.cores), surely)


def _idle(plan: Schedule) -> str:
    """What is to be said of workers that have nothing to do."""
    return f", {plan.most_workers:,} of them at work" if plan.workers > plan.most_workers else ""


def _most(plan: Schedule) -> str:
    if plan.most_workers == 1:
        return "one alone can work on it"
    return f"at most {plan.most_workers:,} can share it; smaller shards could go to more"


def _workers(count: int, cores: int) -> str:
    workers = "1 worker" if count == 1 else f"{count:,} workers"
    return f"{workers} of {cores} core{'' if cores == 1 else 's'}"


def _count(label: str, figure: Figure) -> Line:
    return _line(label, figure, _whole, "exact")


def _line(label: str, figure: Figure, unit: Callable[[float], str], known: str) -> Line:
    """One figure.

    Args:
        label: what it is of.
        figure: the estimate, with its interval.
        unit: writes a number.
        known: how well, where no member is left out.
    """
    if figure.low is not None and figure.low == figure.high:
        value = unit(figure.estimate if known == "exact" else _rounded(figure.estimate))
        return Line(label, value, known)
    value = f"about {unit(_rounded(figure.estimate))}"
    if figure.low is None or figure.high is None:
        return Line(label, value)
    return Line(label, value, f"{unit(_rounded(figure.low))} to {unit(_rounded(figure.high))}")


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _rounded(value: float) -> float:
    if value < 10**_DIGITS:
        return value
    return round(value, _DIGITS - 1 - math.floor(math.log10(value)))
