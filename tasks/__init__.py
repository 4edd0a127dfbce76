"""Prefect tasks: retries, limits, progress, artifacts. They call detection/ and storage/.

The settings below are Prefect's own and have to stand in the environment before Prefect is
imported. Each gives way to one that is set already.
"""

import os

_PREFECT = {
    # A call without a server starts one for itself; its first start, on a new database and a busy
    # machine, takes longer than the 20 seconds that Prefect allows.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
for _name, _value in _PREFECT.items():
    os.environ.setdefault(_name, _value)
