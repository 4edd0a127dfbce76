"""Find every face in archives of photographs and cut each one out.

`crop` does a batch in this process, and `crop_archive` the same as a Prefect flow. `preview` says
what a batch would come to, `recrop` cuts the faces of one out another way. Each name is imported
when it is first used, so that importing this package costs and changes nothing; so is
`__version__`, which is that of pyproject.toml.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.crop_archive import crop_archive
    from pipeline.local import crop
    from pipeline.preview.run import Preview, preview
    from pipeline.recrop.local import recrop
    from pipeline.recrop.settings import RecropSettings
    from pipeline.settings import CropSettings
    from pipeline.summary import Summary

__all__ = [
    "CropSettings",
    "Preview",
    "RecropSettings",
    "Summary",
    "crop",
    "crop_archive",
    "preview",
    "recrop",
]

_HOMES = {
    "CropSettings": "pipeline.settings",
    "Preview": "pipeline.preview.run",
    "RecropSettings": "pipeline.recrop.settings",
    "Summary": "pipeline.summary",
    "crop": "pipeline.local",
    "crop_archive": "flows.crop_archive",
    "preview": "pipeline.preview.run",
    "recrop": "pipeline.recrop.local",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("facecrop")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
