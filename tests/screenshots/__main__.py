"""Make the pictures of docs/screenshots: `python -P -m tests.screenshots`, or `make screenshots`.

The photographs lie in a folder that is called as a user's might be, since its name is in the
pictures; it must not be there before, and is removed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.screenshots.album import NAME, credits, write_album
from tests.screenshots.camera import camera

ROOT = Path(__file__).resolve().parents[2]
_SETS = ("plain", "server")


def main() -> int:
    """Make them, and say how large they are."""
    parser = argparse.ArgumentParser(prog="python -P -m tests.screenshots", description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "screenshots")
    parser.add_argument("--data", type=Path, default=Path("/srv/photos"))
    parser.add_argument("--members", type=int, default=2000, help="photographs in the archive")
    parser.add_argument("--only", choices=_SETS, help="those that need no server, or those that do")
    asked = parser.parse_args()
    try:
        asked.data.mkdir(parents=True)
    except OSError as error:
        print(f"cannot make {asked.data}: {error.strerror}; name another --data", file=sys.stderr)
        return 1
    asked.into.mkdir(parents=True, exist_ok=True)
    try:
        write_album(asked.data / NAME, asked.members)
        with camera(asked.into) as made, TemporaryDirectory() as temporary:
            if asked.only != "server":
                from tests.screenshots import plain

                plain.picture_presets(made, Path(temporary))
                plain.picture_crop(made, asked.data)
                plain.picture_preview(made, asked.data)
            if asked.only != "plain":
                from tests.screenshots import dashboard  # brings Prefect

                dashboard.picture_batch(made, asked.data, Path(temporary))
    finally:
        shutil.rmtree(asked.data)
    (asked.into / "README.md").write_text(credits(), "utf-8")
    for picture in sorted(asked.into.glob("*.webp")):
        print(f"{picture.stat().st_size / 1e3:7.0f} kB  {picture.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
