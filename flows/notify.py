"""A signed webhook when a batch has ended; an automation starts it."""

from uuid import UUID

from prefect import flow

from tasks.logs import plain_logs
from tasks.notify import batch_result, post


@flow(name="notify", flow_run_name="tell of {batch}")
def notify(batch: UUID) -> None:
    """Post the result of a batch to the address in the block `facecrop-webhook-url`.

    Args:
        batch: the id of its flow run.

    Raises:
        NotifyError: the service refuses it.
        TransientError: the service did not answer on any attempt.
    """
    plain_logs()
    post(batch_result(batch))
