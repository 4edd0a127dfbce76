"""docs/reference is what the code says of itself today, and leaves nothing out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic.fields import FieldInfo

from infra.docs import ROOT
from infra.reference.__main__ import FOLDER, pages
from infra.reference.settings import described
from tasks import variables

_ROOMS = ("facecrop", "intake", "deployments", "flows", "tasks", "pipeline", "detection", "storage")
_VARIABLE = re.compile(r'"((?:FACECROP|PREFECT|AWS)_[A-Z0-9_]*[A-Z0-9])"')
# from one of Facecrop's processes to another, and what Prefect sets for a run
_OF_PROCESSES = {"FACECROP_FORK_SERVER"}


def test_what_is_committed_is_what_the_code_says() -> None:
    made = pages()
    assert {path.name for path in FOLDER.glob("*.md")} == set(made)
    for name, text in made.items():
        assert (FOLDER / name).read_text() == text, f"{name} is not of today: make reference"


def test_every_setting_has_a_description() -> None:
    fields: list[tuple[str, FieldInfo]] = [*described()]
    assert len(fields) > 90
    assert [name for name, field in fields if not field.description] == []


def test_every_variable_that_the_code_names_is_told() -> None:
    told = (FOLDER / "variables.md").read_text() + (FOLDER / "settings.md").read_text()
    assert {name for name in _named() if f"`{name}`" not in told} == _OF_PROCESSES


def _named() -> Iterator[str]:
    for room in _ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            yield from _VARIABLE.findall(path.read_text())


def test_every_variable_of_compose_is_told() -> None:
    told = (FOLDER / "variables.md").read_text()
    read = re.findall(r"\$\{(FACECROP_\w+|AWS_\w+)", (ROOT / "infra" / "compose.yaml").read_text())
    assert {name for name in read if f"`{name}`" not in told} == set()


def test_a_variable_says_what_it_is_for() -> None:
    declared = [one for one in vars(variables).values() if isinstance(one, variables.Variable)]
    set_by_us = {variables.QUERY_SECONDS, variables.CONSOLE_LEVEL}
    assert {*declared} - set_by_us == {*variables.READ, *variables.READ_OF_OTHERS}
    assert all(one.about for one in declared)
