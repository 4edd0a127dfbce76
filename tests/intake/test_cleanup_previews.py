"""Old previews in the store of the HTTP service go; what lies beside them stays."""

import os
from pathlib import Path

from intake.control.cleanup import Left, Old, old_previews
from pipeline.preview.run import PAGE, TOLD
from storage.sweep import Shelf

DAY = 86_400


def test_what_a_preview_wrote_goes_and_nothing_else(tmp_path: Path) -> None:
    previews = tmp_path / "previews"
    for name in ("old", "new", "theirs", "linked"):
        (previews / name).mkdir(parents=True)
    for name in ("old", "new"):
        (previews / name / PAGE).write_text("<main>\n<!-- Facecrop preview -->")
        (previews / name / TOLD).write_text('{"kind": "facecrop-preview/1"}')
    (previews / "old" / "notes.txt").write_text("mine")
    (previews / "theirs" / PAGE).write_text("<p>mine</p>")
    (previews / "linked" / PAGE).symlink_to(previews / "new" / PAGE)
    now = (previews / "new" / PAGE).stat().st_mtime + DAY
    for name in (PAGE, TOLD):
        os.utime(previews / "old" / name, (now - 40 * DAY, now - 40 * DAY))

    found = list(old_previews(Shelf(str(tmp_path), "previews"), 30, now))
    assert {one.place for one in found if isinstance(one, Left)} == {
        "previews/theirs",
        "previews/linked",
    }
    [old] = [one for one in found if isinstance(one, Old)]
    assert (old.place, round(old.days)) == ("previews/old", 40)
    gone, left = old.remove()
    assert (gone, left) == (old.bytes, ["notes.txt"])
    assert sorted(file.name for file in (previews / "old").iterdir()) == ["notes.txt"]
    assert (previews / "new" / PAGE).is_file()
    assert list(old_previews(Shelf(str(tmp_path / "previews"), "none"), 30, now)) == []
