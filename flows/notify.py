"""A signed webhook when a batch has ended; an automation starts it."""

from uuid import UUID

from prefect import flow

from tasks.logs import plain_logs
from tasks.notify import post, what_came_of


@flow(name="notify", flow_run_name="tell of {batch}")
def notify(batch: UUID) -> None:
    """Tells the service at the address of the block `facecrop-webhook-url` what came of a batch.

    Args:
        batch: the id of its flow run.

    Raises:
        NotifyError: the service refuses it.
        TransientError: the service did not answer on any attempt.
    """
    plain_logs()
    post(what_came_of(batch))
