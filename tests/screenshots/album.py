"""The archive that the pictures show: photographs that may be shown, and who is to be thanked."""

from __future__ import annotations

import csv
import random
import zipfile
from collections.abc import Iterator
from io import BytesIO
from itertools import product
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

from tests.photographs import TABLE, Photograph, photographs

NAME = "family-album.zip"
EXHIBITION = "exhibition.zip"
_LEFT_OUT = ("chelsea.png", "1897_expeditionsmannschaft_rio_a.jpg")
_SIDES = (900, 420)  # px, at most
_VISITS, _VISITS_A_WALL, _WALLS = 240, 12, 4
_TILES, _TILE = (6, 4), 300  # of a wall of photographs, whose faces are small; px
_QUALITY = 88
_SEED = 7
_FOLDERS = {"public domain by age": "attic", "CC BY 2.0": "holidays"}
_TIMES = {"attic": 1, "holidays": 3, "work": 2}  # how often one of these comes


def shown() -> list[tuple[Photograph, dict[str, str]]]:
    """The photographs that are shown, each with its row of the table.

    But for one whose licence is share-alike, one that has faded, and a cat that one profile takes
    for a person.
    """
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    both = zip(photographs(), rows, strict=True)
    return [
        (photo, row)
        for photo, row in both
        if "SA" not in row["licence"] and row["name"] not in _LEFT_OUT
    ]


def write_album(archive: Path, members: int) -> None:
    """Write a ZIP of so many photographs, one of them cut short, and two files that are none."""
    drawn = random.Random(_SEED)
    variants = [one for photo, row in shown() for one in _variants(photo, row["licence"])]
    with zipfile.ZipFile(archive, "w") as album:
        for number in range(members - 3):
            folder, data = drawn.choice(variants)
            album.writestr(f"{folder}/IMG_{number + 1:04}.jpg", data)
        album.writestr("attic/cut-short.jpg", variants[0][1][:9000])
        album.writestr("attic/read me.txt", "Scanned by Grandpa")
        album.writestr("holidays/Thumbs.db", b"\xd0\xcf\x11\xe0")


def write_exhibition(archive: Path) -> None:
    """Write a ZIP of photographs of people, of which some are of walls of them: of many, small."""
    drawn = random.Random(_SEED)
    people = [photo for photo, _ in shown() if len(photo.faces)]
    visitors = [data for photo in people for _, data in _variants(photo, "")]
    walls = [_wall(drawn, [photo.upright() for photo in people]) for _ in range(_WALLS)]
    with zipfile.ZipFile(archive, "w") as album:
        for number in range(_VISITS):
            if number % _VISITS_A_WALL:
                album.writestr(f"visitors/IMG_{number + 1:04}.jpg", drawn.choice(visitors))
            else:
                album.writestr(f"walls/IMG_{number + 1:04}.jpg", drawn.choice(walls))


def _variants(photo: Photograph, licence: str) -> Iterator[tuple[str, bytes]]:
    kind = licence.partition(":")[0]
    folder = _FOLDERS.get(kind, "work")
    for time, side in product(range(_TIMES[folder]), _SIDES):
        picture = ImageOps.crop(photo.upright(), 3 * time)
        picture.thumbnail((side, side))
        for factor, mirrored in product((0.92, 1, 1.08), (False, True)):
            one = ImageEnhance.Brightness(picture).enhance(factor)
            yield folder, _encoded(ImageOps.mirror(one) if mirrored else one)


def _wall(drawn: random.Random, people: list[Image.Image]) -> bytes:
    across, down = _TILES
    wall = Image.new("RGB", (across * _TILE, down * _TILE))
    for place in range(across * down):
        tile = ImageOps.fit(drawn.choice(people), (_TILE, _TILE))
        wall.paste(tile, (place % across * _TILE, place // across * _TILE))
    return _encoded(wall)


def _encoded(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def credits() -> str:
    """The page that says whose the photographs are."""
    rows = "".join(
        f"| `{row['name']}` | {row['licence']} | {row['source']} |\n" for _, row in shown()
    )
    return f"""# Pictures

`make screenshots` makes all of this folder: it crops an album of the photographs below, on a
Prefect server of its own, too, and takes pictures of what is to be seen, in Chromium and in a
terminal. Look at each before you commit it.

The photographs come with the packages scikit-image and gramps of the development lock. They were
made smaller, cut, mirrored, brighter and darker; crops and reports show parts of them.

| photograph | licence | |
|---|---|---|
{rows}
[CC BY 2.0](https://creativecommons.org/licenses/by/2.0/) ·
[CC0 1.0](https://creativecommons.org/publicdomain/zero/1.0/). The interface in some pictures is
Prefect's ([Apache 2.0](https://github.com/PrefectHQ/prefect/blob/main/LICENSE)).
"""
