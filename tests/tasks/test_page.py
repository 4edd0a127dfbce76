"""What people read on a batch's page."""

from collections import Counter

from pipeline.progress import Snapshot
from pipeline.summary import Summary
from storage.output.counts import Counts
from tasks.reporting.names import base_name, ended_name, project_of
from tasks.reporting.page import ended, running

COUNTS = Counts(1234, 900, 300, 4, 30, 1500, Counter({"truncated_image": 30}))
SUMMARY = Summary(
    archive="s3://in/photos.zip",
    output="s3://out/photos",
    members=2000,
    cropped=1500,
    no_face=460,
    skipped=4,
    failed=36,
    faces=2310,
    errors={"truncated_image": 30, "encrypted": 6},
    resumed=0,
    seconds=61.2,
)


def test_a_running_batch_says_how_far_how_fast_and_what_failed() -> None:
    snapshot = Snapshot(COUNTS, 2000, 0.617, 33.14, 30.2, 23.0)
    shown = running("s3://in/photos.zip", "s3://out/photos", snapshot, {"one": 1000, "two": 234})
    assert (
        "**Running: 1,234 of 2,000 images** (62 %) · 33.1 images/s now, 30.2 on average · 23 s left"
        in shown
    )
    assert "| Faces | 1,500 |" in shown
    assert "| Failed: truncated_image | 30 |" in shown
    assert "| `one` | 1,000 | 81 % |" in shown
    assert "Output: `s3://out/photos`" in shown


def test_faces_that_were_not_kept_are_told() -> None:
    assert "not kept" not in ended(SUMMARY, {})
    told = {"not_kept": 1201, "none_kept": 7, "rejects": {"low_sharpness": 1200, "high_yaw": 3}}
    shown = ended(SUMMARY.model_copy(update=told), {})
    assert "| Faces that were not kept | 1,201 |" in shown
    assert "| Images with faces of which none was kept | 7 |" in shown
    assert "| Not kept: low_sharpness | 1,200 |\n| Not kept: high_yaw | 3 |" in shown


def test_a_batch_that_is_done_says_what_came_of_it_and_where_it_is() -> None:
    shown = ended(SUMMARY, {"one": 2000})
    assert "**Done: 2,000 images, 2,310 faces** · 1 min 1 s · 32.7 images/s on average" in shown
    assert "| Failed: encrypted | 6 |" in shown
    assert "worker" not in shown  # there was only one
    assert "Report: `s3://out/photos/report.html`" in shown
    assert "](" not in shown


def test_how_alike_the_heads_are_is_said_where_it_counts() -> None:
    line = "The heads, as estimated, are 59.0 % of the crop's height in the middle"
    assert f"{line}.\n\nOutput:" in ended(SUMMARY, {}, heads=[line])


def test_links_lead_to_the_http_service_where_there_is_one() -> None:
    at = "https://crops.example/api/batch/7"
    shown = ended(SUMMARY, {}, at)
    assert f"[Report]({at}/report) · [Crops (ZIP)]({at}/crops.zip)" in shown
    assert f"[Manifest]({at}/manifest) · [Failed images]({at}/failed?format=csv)" in shown
    started = running("a.zip", "out", Snapshot(Counts(), None, 0, 0, 0, None), {}, at)
    assert f"[Failed images]({at}/failed?format=csv)" in started
    assert "[Report]" not in started


def test_names_from_outside_stay_text() -> None:
    evil = "a`b|<img src=x onerror=alert(1)>\n# big"
    first = running(evil, "out", Snapshot(Counts(), None, 0, 0, 0, None), {}).splitlines()[0]
    assert first == "## `a'b\\|<img src=x onerror=alert(1)> # big`"


def test_of_hundreds_of_workers_the_busiest_are_shown() -> None:
    shown = ended(SUMMARY, {f"worker-{n}": n for n in range(100)})
    assert "`worker-99`" in shown
    assert "`worker-79`" not in shown
    assert "| and 80 more | | |" in shown


def test_names_of_runs() -> None:
    assert base_name("s3://in/2026/photos.zip") == "photos.zip"
    assert base_name("/data/class/") == "class"
    assert base_name("C:\\photos\\a.zip") == "a.zip"
    assert project_of(["inbox", "project:school"]) == "school"
    assert ended_name("a.zip", SUMMARY) == "a.zip · 2,000 images, 2,310 faces, 36 failed"
