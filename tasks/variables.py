"""The variables of the environment that Facecrop's programs read and set, each with what it says.

Settings have variables of their own, which their models tell: FACECROP_GROUP_FIELD of a batch,
FACECROP_HTTP_* of the service. Imports nothing, as some of these have to be set before Prefect is
imported.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the environment.

    Attributes:
        name: of it.
        about: what it says, for people.
        value: what it is taken for where it is not set, or what it is set to.
    """

    name: str
    about: str
    value: str = ""

    def read(self) -> str:
        """What it is set to; its value where it is unset or empty."""
        return os.environ.get(self.name) or self.value

    def is_set(self) -> bool:
        """Whether it is there, if empty."""
        return self.name in os.environ


HTTP_STORE = Variable(
    "FACECROP_HTTP_STORE",
    "folder or prefix of the HTTP service's uploads and batches; also where `facecrop find` and "
    "`facecrop cleanup` look, without `--store`",
)
DOCTOR_OUTPUT = Variable(
    "FACECROP_DOCTOR_OUTPUT", "where `facecrop doctor` tries to write, without `--output`"
)
KUBE_DEPLOYMENT = Variable(
    "FACECROP_KUBE_DEPLOYMENT",
    "which deployment of Kubernetes `facecrop workers scale` sets",
    "deployment/facecrop-worker",
)
WEBHOOK_URL = Variable(
    "FACECROP_WEBHOOK_URL", "who is told of ended batches: read by `python -P -m deployments`"
)
WEBHOOK_SECRET = Variable("FACECROP_WEBHOOK_SECRET", "what that is signed with; read likewise")
IMAGE = Variable(
    "FACECROP_IMAGE", "image of the containers that the pool facecrop-docker starts", "facecrop"
)
DOCKER_NETWORK = Variable("FACECROP_DOCKER_NETWORK", "network of these containers")
DOCKER_VOLUME = Variable("FACECROP_DOCKER_VOLUME", "a volume of theirs, such as NAME:/data")
DOCKER_USER = Variable("FACECROP_DOCKER_USER", "whom they run as, such as 1000:1000")
DOCKER_MEMORY = Variable("FACECROP_DOCKER_MEMORY", "the memory that each may take", "3g")
JOB_TEMPLATE = Variable(
    "FACECROP_KUBERNETES_JOB_TEMPLATE",
    "file of the template of Jobs; where it is set, `python -P -m deployments` makes the pool "
    "facecrop-kubernetes",
)

READ = (
    *(HTTP_STORE, DOCTOR_OUTPUT, KUBE_DEPLOYMENT, WEBHOOK_URL, WEBHOOK_SECRET),
    *(IMAGE, DOCKER_NETWORK, DOCKER_VOLUME, DOCKER_USER, DOCKER_MEMORY, JOB_TEMPLATE),
)
"""Facecrop's own, beside those of settings."""

API_URL = Variable(
    "PREFECT_API_URL",
    "the API of the Prefect server, such as http://127.0.0.1:4200/api: with it, `facecrop crop` is "
    "a run on that server",
)
PROFILES_PATH = Variable("PREFECT_PROFILES_PATH", "where Prefect's profiles are")
PREFECT_HOME = Variable("PREFECT_HOME", "Prefect's own folder", "~/.prefect")
PROFILE = Variable("PREFECT_PROFILE", "which of the profiles is active")
DOCKET_URL = Variable(
    "PREFECT_SERVER_DOCKET_URL", "the Redis of the server's tasks, which `facecrop doctor` asks"
)
MESSAGING = Variable(
    "PREFECT_REDIS_MESSAGING_URL",
    "the Redis of the server's events, which `facecrop doctor` asks; or _HOST, _PORT, _DB, "
    "_USERNAME, _PASSWORD and _SSL apart",
)
ENDPOINT_URL = Variable("AWS_ENDPOINT_URL", "an S3-compatible server; unset: Amazon's")
REGION = Variable("AWS_DEFAULT_REGION", "its region")
KEY_ID = Variable("AWS_ACCESS_KEY_ID", "the key to it")
SECRET_KEY = Variable("AWS_SECRET_ACCESS_KEY", "the secret to that key")
SESSION_TOKEN = Variable("AWS_SESSION_TOKEN", "of a key that is lent for some time")

READ_OF_OTHERS = (
    *(API_URL, PROFILE, PREFECT_HOME, PROFILES_PATH, DOCKET_URL, MESSAGING),
    *(ENDPOINT_URL, REGION, KEY_ID, SECRET_KEY, SESSION_TOKEN),
)
"""Prefect's and the object store's, where Facecrop reads them itself."""

OF_PROGRAMS = (
    Variable(
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS",
        # on a new database and a busy machine it takes longer than Prefect's own 20
        "seconds that a server which Prefect starts for one command may take",
        "120",
    ),
    Variable("PREFECT_SERVER_ANALYTICS_ENABLED", "no report to Prefect's makers", "false"),
    Variable("DO_NOT_TRACK", "the same, for others", "1"),
)
"""Set for every program of Facecrop's, where they are not set already."""

CONSOLE_LEVEL = Variable(
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL",
    "what Prefect's log tells on the terminal of `facecrop crop`, without `--verbose`",
    "CRITICAL",
)
"""Set for a batch with a progress bar, where it is not set already."""

QUERY_SECONDS = Variable(
    "PREFECT_WORKER_QUERY_SECONDS",
    "seconds between a worker's questions for work; besides, it is told of runs",
    "5",
)
"""Set for `python -P -m deployments.serve`, where it is not set already."""

OF_RUNS = (
    # silence for three of these, and the automation marks the run Crashed; 30 is the least allowed
    Variable("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "seconds between a run's signs of life", "30"),
    Variable(
        "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR",
        "a run that is stopped is scheduled again, and does not fail",
        "reschedule",
    ),
    # `python -m prefect.engine` would take modules from where its worker was started
    Variable("PYTHONSAFEPATH", "nothing is imported from the current folder", "1"),
    Variable(
        "PREFECT_CLIENT_RETRY_EXTRA_CODES",
        "what the server answers while its database is restarted is asked again",
        "500",
    ),
)
"""In the environment of every run on a work pool, whatever starts it."""
