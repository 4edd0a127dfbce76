"""What the service keeps for all clients is named by none of them."""

from pathlib import Path

import pytest

from intake.control.store import reserved
from intake.http.prefixes import Prefixes
from intake.http.problems import ProblemError


def test_uploads_and_outputs_of_a_folder_are_reserved(tmp_path: Path) -> None:
    store = tmp_path / "store"
    for folder in ("uploads/1", "batches/1/crops", "in"):
        (store / folder).mkdir(parents=True)
    (store / "in" / "link").symlink_to(store / "uploads")
    prefixes = Prefixes([str(tmp_path)], reserved(str(store)))
    for allowed in (store / "in", store / "in" / "a.zip", store / "uploads.zip", tmp_path / "x"):
        assert prefixes.check(str(allowed)) == str(allowed)
    for name in ("", "/", "/uploads", "/uploads/", "/uploads/1/a.zip", "/batches", "/batches/1/"):
        for spelled in (f"{store}{name}", f"file://{store}{name}"):
            with pytest.raises(ProblemError):
                prefixes.check(spelled)
    for other in (f"{tmp_path}/", f"{store}/in/link/1/a.zip", f"{store}/in/../uploads/1/"):
        with pytest.raises(ProblemError):
            prefixes.check(other)


def test_uploads_and_outputs_of_a_bucket_are_reserved() -> None:
    prefixes = Prefixes(["s3://a"], reserved("s3://a/store"))
    assert prefixes.check("s3://a/store/in/a.zip") == "s3://a/store/in/a.zip"
    for name in ("", "/", "/store", "/store/", "/store/uploads/1/a.zip", "/store/batches/"):
        with pytest.raises(ProblemError):
            prefixes.check(f"s3://a{name}")
