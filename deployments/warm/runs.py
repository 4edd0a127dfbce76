"""A worker's fork servers: one for runs, one for the processes that these work on images in."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from prefect.utilities.processutils import command_to_string

from detection.forking.request import fixed
from detection.forking.start import QUIET, ForkServerProcess, can_fork
from detection.sandbox.process import FORK_SERVER, child_environment

COLD = (sys.executable, "-P", "-m", "prefect.engine")
"""Starts a run anew."""

_CLIENT = str(Path(__file__).with_name("client.py"))


class WarmRuns:
    """Both servers, from the moment that the environment of runs is known.

    Args:
        environment: of the runs that are to be forked, but for what one run alone has.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = fixed({**environment, **QUIET})
        everything = {**environment, **self._environment}
        images = child_environment(everything)
        self._runs = ForkServerProcess("deployments.warm.server", everything)
        self._images = ForkServerProcess("detection.sandbox.forkserver", images)

    def command(self, environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """How a run is forked that has such an environment; how it is started where it cannot be.

        Returns:
            The command, and the variables that it needs besides.
        """
        if fixed({**environment, **QUIET}) != self._environment:
            return command_to_string([*COLD]), {}
        client = [sys.executable, "-I", "-S", _CLIENT, self._runs.path, *COLD]
        return command_to_string(client), {**QUIET, FORK_SERVER: self._images.path}

    def close(self) -> None:
        """Let both end as soon as what they have forked has ended."""
        self._runs.close()
        self._images.close()


def warm_runs(environment: Mapping[str, str]) -> WarmRuns | None:
    """Start the servers, where the system can fork from them."""
    return WarmRuns(environment) if can_fork() else None
