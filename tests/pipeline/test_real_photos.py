"""All the real photographs that there are, from disk and from S3."""

import zipfile
from pathlib import Path

import fsspec
import pytest

from pipeline.local import crop
from pipeline.settings import CropSettings
from tests.flows.batches import result
from tests.photographs import photographs
from tests.pictures import PHOTOS
from tests.services import S3

pytestmark = [pytest.mark.service, pytest.mark.slow]


def test_every_photograph_has_a_row_and_s3_gives_the_same_bytes(tmp_path: Path, s3: S3) -> None:
    packaged = [photo.path for photo in photographs()]
    photos = sorted([*PHOTOS.glob("*"), *packaged], key=lambda photo: photo.name)
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        for photo in photos:
            writer.write(photo, photo.name)
    # what is local would be cut into larger chunks
    settings = CropSettings.model_validate({"chunk": {"mib": 64}})
    crop(str(archive), str(tmp_path / "out"), settings)
    local = result(str(tmp_path / "out"))
    assert [row["path"] for row in local.manifest] == [photo.name for photo in photos]
    assert all(row["status"] in ("cropped", "no_face") for row in local.manifest)

    fsspec.filesystem("s3").put_file(str(archive), f"{s3.bucket}/in/photos.zip")
    crop(f"s3://{s3.bucket}/in/photos.zip", f"s3://{s3.bucket}/photos-out", settings)
    assert result(f"s3://{s3.bucket}/photos-out") == local
