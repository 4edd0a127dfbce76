"""`facecrop preview`: some members of an archive cropped here, and what all would come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from intake.cli.bar import Bar
from intake.cli.console import DONE, counted, explain, fail, plain
from intake.cli.crop import set_up_log, terminable
from pipeline.preview.run import Preview, preview
from pipeline.preview.told import lines, way_lines
from pipeline.progress import duration
from pipeline.settings import CropSettings
from storage.fs.redact import shown, shown_uri


def preview_archive(
    archive: str,
    output: str,
    settings: CropSettings,
    *,
    count: int,
    seed: int,
    compare: list[str],
    workers: int,
    cores: int,
    by: datetime | None,
    as_json: bool,
    verbose: bool,
) -> int:
    """Write the report, print the estimate, and return the exit code.

    Args:
        archive, output, settings, count, seed, compare, workers, cores, by: as
            `pipeline.preview.run.preview` takes them.
        as_json: one JSON object instead of lines for people.
        verbose: show the log and tracebacks, and no progress bar.
    """
    set_up_log(verbose=verbose)
    try:
        with terminable(), Bar(plain(shown_uri(archive)), shown=not verbose) as bar:
            made = preview(
                archive,
                output,
                settings,
                count=count,
                seed=seed,
                compare=compare,
                workers=workers,
                cores=cores,
                by=by,
                on_progress=bar.show,
            )
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line
        return fail(shown(explain(error, verbose=verbose)), as_json=as_json)
    print(made.model_dump_json() if as_json else "\n".join(_rendered(made)), flush=True)
    return DONE


def _rendered(made: Preview) -> Iterator[str]:
    told = made.estimate
    yield (
        f"{plain(made.archive)}: {counted(told.sampled, 'member')} cropped in "
        f"{duration(made.seconds)}, seed {made.seed}"
    )
    head = ("", "estimate", "95 % interval")
    yield from _columns([head, *lines(told, made.schedule)])
    if made.profiles:
        yield from _columns(way_lines(made.profiles))
        faces = counted(made.disagreements, "face")
        yield f"  they disagree on {faces} of the sample, which the report shows"
    for line in made.notes:
        yield f"  note    {plain(line)}"
    yield f"  report  {plain(made.report)}"


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows with each column as wide as its longest text."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()
