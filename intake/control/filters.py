"""What a Prefect server is asked for, and all pages of its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType

PAGE = 200  # rows: the most that the server hands out at a time
Row = TypeVar("Row")


def in_states(*types: StateType) -> FlowRunFilterState:
    """Select the runs in states of some types."""
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))


def of_flows(*names: str) -> FlowFilter:
    """Select flows by their names."""
    return FlowFilter(name=FlowFilterName(any_=list(names)))


def of_pool(name: str) -> WorkPoolFilter:
    """Select one work pool."""
    return WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))


def every(read: Callable[..., list[Row]]) -> Iterator[Row]:
    """Yield all rows of a list that the server gives in pages, each from an `offset`."""
    passed = 0
    while page := read(limit=PAGE, offset=passed):
        yield from page
        if len(page) < PAGE:
            return
        passed += len(page)
