"""The object store's keys, for containers that do not inherit their worker's environment.

A work pool's template only refers to them: they are Secret blocks of Prefect's, and the worker puts
a block's value in its reference's place when it starts a container. So no template, deployment,
flow run, event or log has a key. The server keeps blocks encrypted, with a key that lies in the
same database unless PREFECT_SERVER_ENCRYPTION_KEY gives it another. Whoever has the API's auth
string can read them, and could as well start a run that does. On its host, a container's
environment is open to whoever may use the engine's socket, who is root there.
"""

from __future__ import annotations

import os

from prefect.blocks.system import Secret
from pydantic import SecretStr

from tasks.variables import KEY_ID, SECRET_KEY, SESSION_TOKEN

_KEYS = (KEY_ID, SECRET_KEY, SESSION_TOKEN)


def save_keys() -> list[str]:
    """Save the keys that this process's environment has; give the names of their blocks."""
    blocks = _blocks()
    for key, block in blocks.items():
        Secret(value=SecretStr(os.environ[key])).save(block, overwrite=True)
    return list(blocks.values())


def references() -> dict[str, str]:
    """Environment variables for a job template, of the keys that `save_keys` saves."""
    return {key: f"{{{{ prefect.blocks.secret.{block} }}}}" for key, block in _blocks().items()}


def _blocks() -> dict[str, str]:
    present = (key.name for key in _KEYS if key.read())
    return {key: f"facecrop-{key.lower().replace('_', '-')}" for key in present}
