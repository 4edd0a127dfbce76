"""The faces of a finished batch, cut out another way."""

import time
from contextlib import suppress

import httpx
from prefect import flow

from pipeline.recrop.settings import RecropSettings
from pipeline.summary import Summary
from pipeline.window import crop_chunks
from tasks.lifecycle.outlive import outlive_server
from tasks.logs import plain_logs
from tasks.recrop import finish, plan, recrop_chunk
from tasks.reporting.dashboard import show_failures
from tasks.reporting.page import code
from tasks.reporting.reporter import Reporter
from tasks.window import task_runs

DEFAULTS = RecropSettings()


@flow(name="recrop", flow_run_name="{output} from the faces of {batch}")
def recrop(batch: str, output: str, settings: RecropSettings = DEFAULTS) -> list[Summary]:
    """Cut the faces of a finished batch out another way; nothing is searched for faces again.

    The batch stays as it is. Run again with the same parameters, it completes what is missing.

    Args:
        batch: the output of the batch, a path or URI.
        output: a folder or prefix to be made, laid out as that; of several ways to cut, the folder
            in which each has one.
        settings: everything that may be chosen; the rest is as the batch was made.

    Raises:
        ArchiveError: the archive is gone, or has changed since.
        OutputError: there is no finished batch, or the output cannot be used, or is another's.
        TransientError: storage failed on every attempt; run it again to go on.
    """
    plain_logs()
    outlive_server()
    started = time.monotonic()
    faces = plan(batch, output, settings)
    reporter = Reporter(faces.progress, f"the faces of {code(faces.source.uri)}")
    members, chunks = crop_chunks(
        faces, faces.chunks(), reporter.tick, task_runs(faces, recrop_chunk)
    )
    summaries = [finish(faces, target, members, chunks, started) for target in faces.targets]
    reporter.finish()
    if summaries[0].failed:
        with suppress(httpx.HTTPError):
            show_failures(summaries[0], faces.output)
    return summaries
