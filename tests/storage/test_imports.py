"""A batch on local disks imports nothing of object stores, of the web or of Prefect."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.pictures import astronaut_jpeg

FOREIGN = {
    *("s3fs", "aiobotocore", "botocore", "boto3", "obstore", "aiohttp", "yarl", "prefect"),
    "fsspec.implementations.http",
}
CROP = """
import sys
from pipeline.local import crop

assert crop(*sys.argv[1:]).members == 2
print(*sys.modules)
"""


def test_a_local_batch_imports_no_object_store(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", astronaut_jpeg(128))
        archive.writestr("b.txt", "no photograph")
    done = subprocess.run(
        [sys.executable, "-c", CROP, tmp_path / "photos.zip", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(done.stdout.split())
    assert "pipeline.local" in imported
    assert not FOREIGN & imported
