"""Posts a batch's result to a webhook, signed so that the receiver can verify the sender.

The signature is an HMAC-SHA256 (RFC 2104) over the time and the body, in the header
`Facecrop-Signature: t=SECONDS,v1=HEX`. The receiver computes it again over `SECONDS.BODY` with the
shared secret, compares in constant time, and refuses what is older than a few minutes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any
from uuid import UUID

import httpx
from prefect import task
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client

from storage.errors import RedactedError, TransientError
from storage.output.output import Output
from tasks.reporting.counts import read_snapshots
from tasks.reporting.links import run_link
from tasks.retries import task_options

URL_BLOCK = "facecrop-webhook-url"
SECRET_BLOCK = "facecrop-webhook-secret"
SIGNATURE = "Facecrop-Signature"

_ANSWER_SECONDS = 30
_ATTEMPTS = 7  # over two minutes: long enough for a service that is being restarted


class NotifyError(RedactedError):
    """The service of the user's will not take the notification, however often it is sent."""


def batch_result(batch: UUID) -> dict[str, Any]:
    """The notification: ids and places, the state, and the counts of the batch's members."""
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(batch)
        snapshot = read_snapshots(client, [batch]).get(batch)
    state = run.state
    assert state is not None
    output = str(run.parameters["output"])
    counts = Output(output).totals() if state.is_completed() else snapshot and snapshot.counts
    result = {
        "event": f"batch.{state.type.value.lower()}",
        "batchId": str(batch),
        "message": state.message or "",
        "archive": run.parameters["archive"],
        "output": output,
        "tags": run.tags,
        "seconds": run.total_run_time.total_seconds(),
        "link": run_link(batch),
    }
    if counts:
        result |= counts.as_dict()
    return result


@task(name="post", **task_options(_ATTEMPTS))
def post(result: dict[str, Any]) -> None:
    """Send it, signed, to the address in Prefect's block `facecrop-webhook-url`.

    Raises:
        NotifyError: it is refused.
        TransientError: nobody answers, or later might be better.
    """
    url, secret = _secret(URL_BLOCK), _secret(SECRET_BLOCK)
    body = json.dumps(result).encode()
    headers = {
        "Content-Type": "application/json",
        SIGNATURE: sign(body, secret, int(time.time())),
    }
    try:
        answer = httpx.post(url, content=body, headers=headers, timeout=_ANSWER_SECONDS)
    except httpx.InvalidURL as error:
        raise NotifyError(f"The block {URL_BLOCK} holds no address: {error}.") from error
    except httpx.TransportError as error:
        raise TransientError(f"The webhook did not answer: {type(error).__name__}.") from error
    if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
        raise TransientError(f"The webhook answered {answer.status_code}.")
    if answer.status_code >= 300:
        raise NotifyError(
            f"The webhook refused with {answer.status_code}: check its address and its log."
        )


def _secret(block: str) -> str:
    found = Secret.load(block)
    assert isinstance(found, Secret)  # a coroutine only where an event loop runs
    return str(found.get())


def sign(body: bytes, secret: str, seconds: int) -> str:
    """The signature's header for a body sent at a time (seconds since 1970)."""
    signed = f"{seconds}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"
