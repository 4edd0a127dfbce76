"""What a batch's run says of itself on its page, as Markdown: while it runs, and at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.progress import Snapshot, duration
from pipeline.summary import Summary
from storage.fs.redact import shown
from storage.output.counts import Counts

_MOST_WORKERS = 20  # in the table; a batch may have hundreds
_LINKS_MEANWHILE = {"Failed images": "failed?format=csv"}
_LINKS = {
    "Report": "report",
    "Crops (ZIP)": "crops.zip",
    "Manifest": "manifest",
    **_LINKS_MEANWHILE,
}


def running(
    archive: str, output: str, snapshot: Snapshot, workers: Mapping[str, int], address: str = ""
) -> str:
    """The page of a batch that is being worked on.

    Args:
        archive, output: of the batch.
        snapshot: how far it is.
        workers: members done, by the name of the worker that did them.
        address: of the batch at the HTTP service, which its links begin with; "" for no links.
    """
    counts, left = snapshot.counts, snapshot.seconds_left
    of = "" if snapshot.total is None else f" of {snapshot.total:,}"
    parts = [
        f"**Running: {counts.members:,}{of} images** ({100 * snapshot.share:.0f} %)",
        f"{snapshot.images_per_second:,.1f} images/s now, "
        f"{snapshot.mean_images_per_second:,.1f} on average",
        "" if left is None else f"{duration(left)} left",
    ]
    links = f"Output: {code(output)}" + _links(address, _LINKS_MEANWHILE)
    return _page(archive, parts, counts, workers, links)


def ended(
    summary: Summary, workers: Mapping[str, int], address: str = "", heads: Sequence[str] = ()
) -> str:
    """The page of a batch that is done; its arguments are as in `running`.

    `heads` says how alike its heads are in its crops, a sentence each.
    """
    rate = summary.images_per_second
    parts = [
        f"**Done: {summary.members:,} images, {summary.faces:,} faces**"
        if summary.counts.images
        else f"**Done, but none of {summary.members:,} files is an image that was opened**",
        duration(summary.seconds),
        f"{rate:,.1f} images/s on average" if rate else "",
        f"{summary.resumed:,} were done by earlier runs" if summary.resumed else "",
    ]
    places = f"Output: {code(summary.output)}\n\nReport: {code(summary.output + '/report.html')}"
    if summary.skipped:
        places += f"\n\nSkipped: {code(summary.output + '/skipped.csv')}"
    if summary.unknown_photos or summary.missing_people:
        places += f"\n\nLeft over of the roster: {code(summary.output + '/unmatched.csv')}"
    notes = "".join(f"{code(line)}\n\n" for line in summary.notes)
    notes += "".join(f"{line}.\n\n" for line in heads)
    links = notes + places + _links(address, _LINKS)
    return _page(summary.archive, parts, summary.counts, workers, links)


def _page(
    archive: str, headline: list[str], counts: Counts, workers: Mapping[str, int], links: str
) -> str:
    rows = {
        "Faces": counts.faces,
        "Images with a face": counts.cropped,
        "Images without a face": counts.no_face,
        "Skipped, no images": counts.skipped,
        "Failed": counts.failed,
        **{f"Failed: {code}": number for code, number in counts.errors.most_common()},
        **{f"Skipped: {code}": number for code, number in counts.skips.most_common()},
        **{f"In doubt: {code}": number for code, number in counts.warnings.most_common()},
        **_not_kept(counts),
        **_left_over(counts),
    }
    table = "| | |\n|---|---:|\n" + "\n".join(
        f"| {name} | {number:,} |" for name, number in rows.items()
    )
    headline_text = " · ".join(filter(None, headline))
    parts = (f"## {code(archive)}", headline_text, table, _workers(workers), links)
    return "\n\n".join(filter(None, parts))


def _not_kept(counts: Counts) -> dict[str, int]:
    """What came of the thresholds, where they kept anything back."""
    if not counts.not_kept:
        return {}
    return {
        "Faces that were not kept": counts.not_kept,
        "Images with faces of which none was kept": counts.none_kept,
        **{f"Not kept: {code}": number for code, number in counts.rejects.most_common()},
    }


def _left_over(counts: Counts) -> dict[str, int]:
    """Who is on one side of the roster alone, where there is somebody."""
    kinds = {
        "Photographs of nobody in the roster": counts.unknown_photos,
        "People in the roster without a photograph": counts.missing_people,
    }
    return {kind: number for kind, number in kinds.items() if number}


def _workers(workers: Mapping[str, int]) -> str:
    """Who did how much, where more than one did."""
    if len(workers) < 2:
        return ""
    total = sum(workers.values()) or 1
    first = sorted(workers.items(), key=lambda item: -item[1])
    rows = [
        f"| {code(name)} | {number:,} | {100 * number / total:.0f} % |"
        for name, number in first[:_MOST_WORKERS]
    ]
    rest = len(first) - _MOST_WORKERS
    if rest > 0:
        rows.append(f"| and {rest} more | | |")
    return "| worker | images | share |\n|---|---:|---:|\n" + "\n".join(rows)


def _links(address: str, links: Mapping[str, str]) -> str:
    if not address:
        return ""
    return "\n\nOpen: " + " · ".join(f"[{name}]({address}/{at})" for name, at in links.items())


def code(text: str) -> str:
    """Text from outside as code, so that Markdown and HTML in it stay text, and without secrets."""
    plain = " ".join(shown(text).split()).replace("|", "\\|").replace("`", "'")
    return f"`{plain}`"
