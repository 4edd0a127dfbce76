"""Previews over HTTP: a real service, Prefect server and worker."""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from intake.http.keys import make_key
from tasks.reporting.artifacts import read_artifacts
from tests.intake.web import Web, body, problem, serving
from tests.pictures import astronaut_jpeg, no_face_jpeg
from tests.workers import process_workers, this_client

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(600)]

PREVIEW = "/api/preview"


@dataclass(frozen=True)
class People:
    web: Web  # whose own client is ann's
    bob: httpx.Client


@pytest.fixture(scope="module")
def people(deployed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    folder = tmp_path_factory.mktemp("preview")
    (ann, first), (bob, second) = make_key("ann"), make_key("bob")
    (folder / "keys").write_text(f"{first}\n{second}")
    store = folder / "store"
    store.mkdir()
    with (
        serving(folder, str(store), deployed, ann, keys=folder / "keys") as web,
        httpx.Client(base_url=web.url, timeout=60, headers={"X-API-Key": bob}) as other,
    ):
        yield People(web, other)


@pytest.fixture(scope="module")
def photos(people: People) -> str:
    path = Path(people.web.store) / "photos.zip"
    with zipfile.ZipFile(path, "w") as target:
        for place in range(60):
            data = no_face_jpeg() if place % 3 else astronaut_jpeg(300)
            target.writestr(f"{place:03}.jpg", data)
    return str(path)


def test_a_preview_is_a_run_whose_page_tells_it(
    people: People, photos: str, deployed: dict[str, str], tmp_path: Path
) -> None:
    asked = {"archive": photos, "count": 20, "compare": ["fast"], "workers": 3, "priority": 2}
    client = people.web.client
    with process_workers(deployed, tmp_path) as start:
        start("preview")
        told = body(client.post(PREVIEW, json=asked, params={"wait": 60}, timeout=90), 201)
        while told["state"] not in ("completed", "failed"):
            told = body(client.get(told["links"]["status"]), 200)
    assert told["state"] == "completed", told
    made = told["preview"]
    assert (made["estimate"]["sampled"], made["schedule"]["workers"]) == (20, 3)
    assert made["estimate"]["members"]["estimate"] == 60
    low, high = (made["estimate"]["faces"][bound] for bound in ("low", "high"))
    assert low <= 20 <= high
    assert made["report"] == ""
    assert people.web.store + "/previews" not in json.dumps(told)

    page = client.get(told["links"]["report"])
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == "sandbox allow-scripts"
    assert "The whole archive, estimated" in page.text
    assert client.head(told["links"]["report"]).headers["content-length"] == str(len(page.content))
    for other in told["links"].values():
        problem(people.bob.get(other), 404)
    problem(client.get(f"/api/batch/status/{told['previewId']}"), 404)

    [artifact] = read_artifacts(this_client(), [UUID(told["previewId"])], "preview")
    assert "| Members | 60 | exact |" in str(artifact.data)
    assert "| profile | faces in the sample |" in str(artifact.data)


def test_what_may_not_be_previewed_is_told(people: People, photos: str) -> None:
    client = people.web.client
    listed = Path(people.web.store) / "list.txt"
    listed.write_text(f"{photos}\n/etc/passwd\n")
    refused = client.post(PREVIEW, json={"archive": str(listed)})
    assert "/etc/passwd is not under a prefix" in problem(refused, 403)
    quick = client.post(PREVIEW, json={"archive": photos, "compare": ["quick"]})
    assert problem(quick, 422).startswith("compare.0: ")
    large = {"archive": photos, "settings": {"limits": {"max_pixels": 10**9}}}
    assert "settings.limits.max_pixels" in problem(client.post(PREVIEW, json=large), 422)
    missing = client.post(PREVIEW, json={"archive": f"{photos}.not"})
    assert "photos.zip.not" in problem(missing, 422)
