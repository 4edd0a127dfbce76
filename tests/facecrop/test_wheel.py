"""What is installed from the wheel, outside of the checkout, does what the checkout does."""

import json
import os
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "facecrop", "flows", "tasks", "pipeline", "detection", "storage", "intake", "deployments"
)  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("started_images")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-P", "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment of its own, with the wheel; only its dependencies are ours."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=300)
    made = folder / "bin" / "python"
    pip = [str(made), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, timeout=300)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    # listed after the wheel's, and without what an editable install adds
    (packages / "ours.pth").write_text("\n".join(site.getsitepackages()))
    return made


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return clean | {"PREFECT_HOME": str(tmp_path / "prefect")}


def test_the_wheel_has_every_package_and_what_they_read(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    files = {name for name in names if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in files} == set(PACKAGES)
    assert {"deployments/prefect.yaml", "pipeline/report_page.html", "facecrop/py.typed"} <= files


def test_the_command_crops(
    python: Path, sample: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    command = [str(python.parent / "facecrop"), "crop", str(sample), "--output", str(output)]
    done = subprocess.run(
        [*command, "--json"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr  # one image of the sample is damaged
    assert json.loads(done.stdout)["failed"] == 1
    assert (output / "report.html").exists()
    where = [str(python), "-P", "-c", "import pipeline; print(pipeline.__file__)"]
    assert str(python.parents[1]) in subprocess.check_output(where, cwd=tmp_path, text=True)


@pytest.mark.service
def test_the_deployments_are_applied(
    python: Path, prefect: dict[str, str], environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [str(python), "-P", "-m", "deployments"],
        cwd=tmp_path, env=environment | prefect, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "deployment  */process" in done.stdout


@pytest.mark.service
def test_the_service_answers(
    python: Path, prefect: dict[str, str], environment: dict[str, str], tmp_path: Path
) -> None:
    settings = {"FACECROP_HTTP_STORE": str(tmp_path / "store")}
    command = [str(python), "-P", "-m", "facecrop", "serve", "--port", "0"]
    chosen = environment | prefect | settings
    with subprocess.Popen(
        command, cwd=tmp_path, env=chosen, stdout=subprocess.PIPE, text=True
    ) as service:
        try:
            assert service.stdout is not None
            url = service.stdout.readline().strip().rpartition(" ")[2]
            assert httpx.get(f"{url}/healthz", timeout=60).json() == {"status": "alive"}
        finally:
            service.terminate()
