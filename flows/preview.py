"""Some members of an archive cropped, to say what all of it would come to."""

from typing import Annotated

from prefect import flow
from pydantic import AwareDatetime, Field

from detection.settings import Profile
from pipeline.preview import COUNT, MOST
from pipeline.preview.run import Asked, Preview, preview_into
from pipeline.settings import CropSettings
from tasks.lifecycle.outlive import outlive_server
from tasks.logs import plain_logs
from tasks.reporting.names import preview_name
from tasks.reporting.preview import PreviewPage

DEFAULTS = CropSettings()


@flow(name="preview", flow_run_name=preview_name)
def preview(
    archive: str,
    report: str,
    settings: CropSettings = DEFAULTS,
    count: Annotated[int, Field(ge=1, le=MOST)] = COUNT,
    seed: Annotated[int, Field(ge=0, le=2**53)] = 1,
    compare: list[Profile] | None = None,
    workers: Annotated[int, Field(ge=1, le=10_000)] = 1,
    cores: Annotated[int, Field(ge=0, le=1024)] = 0,
    by: AwareDatetime | None = None,
) -> Preview:
    """Crop some members of an archive, spread evenly over it, and estimate what all would come to.

    Args:
        archive: as crop-archive takes it.
        report: a folder or prefix, for preview.html and preview.json.
        settings: of the batch that is thought of.
        count: members to crop.
        seed: another one has other members chosen.
        compare: detection profiles to put side by side.
        workers: that the batch is to have.
        cores: of each of them; 0 for as many as this run's machine has.
        by: when it is to be done: it is told how many workers that takes.

    Raises:
        ArchiveError: the archive cannot be used; the message says why and what to do.
        OutputError: the report cannot be written there.
        TransientError: storage failed on every attempt; run it again.
    """
    plain_logs()
    outlive_server()
    page = PreviewPage(archive)
    asked = Asked(count, seed, tuple(compare or ()), workers, cores, by)
    made = preview_into(report, archive, settings, asked, page.update)
    page.end(made)
    return made
