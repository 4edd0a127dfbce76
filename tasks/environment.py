"""Prefect's own settings that Facecrop's entry points run with.

They have to stand in the environment before Prefect is imported, so this module imports nothing of
it. Importing Facecrop sets none of them: that is for the programs that Facecrop is.
"""

import os

_PREFECT = {
    # A call without a server starts one for itself; its first start, on a new database and a busy
    # machine, takes longer than the 20 seconds that Prefect allows.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


def set_environment() -> None:
    """Set what is not set already."""
    for name, value in _PREFECT.items():
        os.environ.setdefault(name, value)
