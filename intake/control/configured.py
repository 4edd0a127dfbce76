"""Which Prefect server is configured, found out without the seconds that importing Prefect takes.

Prefect's own order, which a test holds this to: environment, `.env`, `prefect.toml` and
`pyproject.toml` of the current folder, then the active profile.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from tasks.variables import API_URL, PREFECT_HOME, PROFILE, PROFILES_PATH

_URL, _PROFILES = API_URL.name, PROFILES_PATH.name


def configured_url() -> str | None:
    """The address of the Prefect server's API; None where a call would start a server."""
    dotenv = _dotenv()
    prefect, project = _toml(Path("prefect.toml")), _toml(Path("pyproject.toml"))
    choices = (
        os.environ.get(_URL),
        dotenv.get(_URL),
        _entry(prefect, "api", "url"),
        _entry(project, "tool", "prefect", "api", "url"),
    )
    url = next((choice for choice in choices if choice is not None), None)
    if url is None:
        home = Path(PREFECT_HOME.read()).expanduser()
        profiles = (
            os.environ.get(_PROFILES)
            or dotenv.get(_PROFILES)
            or _entry(prefect, "profiles_path")
            or _entry(project, "tool", "prefect", "profiles_path")
            or home / "profiles.toml"
        )
        known = _toml(Path(profiles))
        active = PROFILE.read() or known.get("active")
        url = _entry(known, "profiles", active, _URL)
    return url or None


def _dotenv() -> dict[str, str | None]:
    if not Path(".env").is_file():
        return {}
    from dotenv import dotenv_values

    return dict(dotenv_values(".env"))


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent, or somebody else's and damaged: it names no server
        return {}


def _entry(table: dict[str, Any], *keys: str | None) -> Any:
    entry: Any = table
    for key in keys:
        entry = entry.get(key) if isinstance(entry, dict) else None
    return entry
