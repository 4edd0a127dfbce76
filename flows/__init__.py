"""What a person starts: Prefect flows."""

import tasks  # noqa: F401 - sets Prefect's environment, before a flow imports Prefect
