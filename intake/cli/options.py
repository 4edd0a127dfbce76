"""Every setting as a flag and as an environment variable, made from the one settings model."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from pipeline.settings import COMMON, CropSettings

_SHORT = {("roster", "file"): "--roster", ("input", "dedupe"): "--dedupe"}
"""Another flag for a setting, that says it all."""

BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}
"""How a bound of a setting is told."""


Flags = Mapping[tuple[str, str], str]
"""What flags chose, by group and field."""


class OptionError(ValueError):
    """A setting has a value that it cannot have; the message names the flag or variable."""


def add_options(
    parser: argparse.ArgumentParser, only: Collection[str] = (), *, everything: bool = True
) -> None:
    """Add `--GROUP-FIELD` for each field of each group of CropSettings; all go to `settings`.

    Args:
        parser: of a command.
        only: the groups that it takes, and fields as `group.field`, where it does not take all.
        everything: whether its help tells of all, or of those alone that most people choose by.
    """
    parser.set_defaults(settings={})
    for group, model in groups():
        fields = [
            (name, field)
            for name, field in fields_of(model)
            if not only or group in only or f"{group}.{name}" in only
        ]
        if not fields:
            continue
        told = {name for name, _ in fields if everything or (group, name) in COMMON}
        about = CropSettings.model_fields[group].description if told else None
        section = parser.add_argument_group(group, about)
        for name, field in fields:
            choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
            short = _SHORT.get((group, name))
            section.add_argument(
                flag(group, name),
                *([short] if short else []),
                action=_Choose,
                const=(group, name),
                dest="settings",
                default=argparse.SUPPRESS,
                metavar="|".join(choices) or name.upper(),
                help=_help(field).replace("%", "%%") if name in told else argparse.SUPPRESS,
            )


class _Choose(argparse.Action):
    def __call__(self, _: object, given: argparse.Namespace, value: Any, *__: object) -> None:
        given.settings = {**given.settings, self.const: value}


def read_options(flags: Flags, environ: Mapping[str, str]) -> CropSettings:
    """The settings that flags choose, else the environment, else the defaults.

    Raises:
        OptionError: one line for each value that cannot be.
    """
    values: dict[str, dict[str, str]] = {}
    spelled: dict[tuple[str, str], str] = {}
    for group, model in groups():
        for name, _ in fields_of(model):
            variable = f"FACECROP_{group}_{name}".upper()
            for value, spelling in (
                (flags.get((group, name)), flag(group, name)),
                (environ.get(variable), variable),
            ):
                if value is not None:
                    values.setdefault(group, {})[name] = value
                    spelled[group, name] = spelling
                    break
    try:
        return CropSettings.model_validate(values)
    except ValidationError as error:
        raise OptionError(
            "\n".join(_complaint(fault, spelled) for fault in error.errors())
        ) from error


def groups() -> Iterator[tuple[str, type[BaseModel]]]:
    """The groups of all settings, each with its model."""
    for group, field in CropSettings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        yield group, model


def fields_of(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """The settings of a group, by the names that people use."""
    return ((field.alias or name, field) for name, field in model.model_fields.items())


def flag(group: str, name: str) -> str:
    """The flag of a setting."""
    return f"--{group}-{name}".replace("_", "-")


def _help(field: FieldInfo) -> str:
    bounds = [
        text.format(getattr(bound, kind))
        for bound in field.metadata
        for kind, text in BOUNDS.items()
        if hasattr(bound, kind)
    ]
    default = f"default {field.default}" if field.default != "" else ""
    notes = "; ".join(filter(None, [", ".join(bounds), default]))
    return f"{field.description} ({notes})" if notes else str(field.description)


def _complaint(fault: Any, spelled: Mapping[tuple[str, str], str]) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ").replace("Input should", "should")
    if not fault["loc"]:  # settings that do not go together
        return message
    group, name = fault["loc"][:2]
    return f"{spelled[group, name]} {fault['input']}: {message}"
