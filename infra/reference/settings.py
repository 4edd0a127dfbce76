"""Every setting, with its default, the values that it takes, and its description."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from infra.reference.markdown import section, table, title
from intake.cli.options import BOUNDS, fields_of, flag, groups
from intake.http.settings import PREFIX, ServiceSettings
from pipeline.recrop.settings import RecropSettings
from pipeline.settings import CropSettings


def settings() -> Iterator[str]:
    """The page, a line after the other."""
    yield from title(
        "Settings",
        "All settings of a batch. Each is a flag of `facecrop crop`, `submit` and `preview`, a "
        "variable of the environment (`--crop-size` is `FACECROP_CROP_SIZE`), a field of the form "
        'in Prefect\'s UI, and in JSON and Python a field of its group (`{"crop": '
        '{"size": 256}}`). A flag goes before a variable, a variable before the default.',
    )
    for group, model in groups():
        yield from section(group, f"{CropSettings.model_fields[group].description}")
        named = ((flag(group, name), field) for name, field in fields_of(model))
        yield from _table("flag", named)
    yield from section(
        "A recrop",
        "`facecrop recrop`, the flow `recrop` and the route for it take these, `crop` and `run` as "
        "above.",
    )
    fields = RecropSettings.model_fields.items()
    own = ((name, field) for name, field in fields if name not in CropSettings.model_fields)
    yield from _table("field", own)
    yield from section(
        "The HTTP service",
        "Variables that `facecrop serve` reads. Those of a batch's settings are the most that a "
        "client may ask for, or the least.",
    )
    served = ServiceSettings.model_fields.items()
    yield from _table("variable", ((f"{PREFIX}{name.upper()}", field) for name, field in served))


def described() -> Iterator[tuple[str, FieldInfo]]:
    """Every field of every model that the page tells of, by a name."""
    for group, model in groups():
        yield from ((flag(group, name), field) for name, field in fields_of(model))
    for kind in (CropSettings, RecropSettings, ServiceSettings):
        yield from ((f"{kind.__name__}.{name}", one) for name, one in kind.model_fields.items())


def _table(head: str, named: Iterable[tuple[str, FieldInfo]]) -> Iterator[str]:
    """A row for each field, by what it is called in this table."""
    rows = ((f"`{name}`", *_told(field)) for name, field in named)
    yield from table((head, "default", "values", ""), rows)


def _told(field: FieldInfo) -> tuple[str, str, str]:
    """The default of a field, the values that it takes, and its description."""
    default = field.get_default()
    if isinstance(default, tuple | dict) and not default:
        default = ""
    kind = field.annotation
    if get_origin(kind) is Literal:
        values = ", ".join(f"`{one}`" for one in get_args(kind))
    else:
        bounds = [
            text.format(f"{getattr(bound, name):,}")
            for bound in field.metadata
            for name, text in BOUNDS.items()
            if hasattr(bound, name)
        ]
        names = {int: "a whole number", float: "a number"}
        values = ", ".join([names.get(kind, "text") if isinstance(kind, type) else "text", *bounds])
    shown = f"`{default}`" if default != "" else ""
    return shown, values, str(field.description)
