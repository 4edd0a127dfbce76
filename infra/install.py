"""Makes `.venv` at the project's root, and installs what a lock file names and the project into it.

`python infra/install.py requirements-dev.lock` does so where it has not been done yet, and
`python infra/install.py --debian redis-server` installs packages of Debian. It runs before anything
is installed: with the standard library alone, on Linux, macOS and Windows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if sys.platform == "win32" else "bin")
PYTHON = BIN / ("python.exe" if sys.platform == "win32" else "python")

_OLDEST = (3, 11)
_UV_LOCK = "requirements-uv.lock"


class InstallError(Exception):
    """One line that says what could not be installed."""


def set_up(lock: str) -> None:
    """Install a lock file of the project's root, unless that has been done; call it from there.

    Raises:
        InstallError: something cannot be had; what tried to install it has said why.
    """
    if sys.version_info < _OLDEST:
        raise InstallError("Facecrop needs Python 3.11 or newer.")
    # that onnxruntime and pyarrow are built on, and that a new Windows does not have
    if sys.platform == "win32" and find_library("msvcp140_1") is None:
        raise InstallError(
            "Facecrop needs Microsoft's Visual C++ runtime: "
            "winget install Microsoft.VCRedist.2015+.x64"
        )
    wanted = ROOT / lock
    stamp = VENV / f".installed-{lock}"
    if _is_newer(stamp, ROOT / "pyproject.toml") and stamp.read_bytes() == wanted.read_bytes():
        return
    minutes = "a minute or two, this once"
    print(f"Installing into .venv from {lock} ({minutes}) ...", file=sys.stderr, flush=True)
    if not PYTHON.exists():
        _make_venv()
    _install("--require-hashes", "-r", lock)
    _install("--no-deps", "--no-build-isolation", "--editable", ".")
    shutil.copyfile(wanted, stamp)


def install_debian(*packages: str) -> None:
    """Install packages of Debian, where this is Debian or Ubuntu and we may.

    Raises:
        InstallError: it is not, or we may not; the message names the packages.
    """
    as_root = [] if sys.platform == "win32" or os.getuid() == 0 else ["sudo"]
    if not all(map(shutil.which, [*as_root, "apt-get"])):
        raise InstallError(f"Please install: {' '.join(packages)}")
    quiet = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    _run([*quiet, "update", "-qq"])
    _run([*quiet, "install", "-y", "-qq", "--no-install-recommends", *packages], quiet=True)


def _is_newer(stamp: Path, other: Path) -> bool:
    return stamp.exists() and stamp.stat().st_mtime_ns > other.stat().st_mtime_ns


def _make_venv() -> None:
    """Make it with this interpreter, of which Debian keeps one half in a package of its own."""
    if subprocess.run([sys.executable, "-c", "import ensurepip"], capture_output=True).returncode:
        install_debian("python{}.{}-venv".format(*sys.version_info))
    _run([sys.executable, "-m", "venv", str(VENV)])


def _install(*what: str) -> None:
    """Install with uv, which takes a tenth of the time, or with pip where it cannot be had."""
    pip = [str(PYTHON), "-m", "pip"]
    quiet = ["install", "--quiet", "--disable-pip-version-check"]
    if uv := shutil.which("uv") or _uv([*pip, *quiet]):
        command = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(PYTHON)]
        environment = os.environ | _index(pip)
        if subprocess.run([*command, *what], env=environment).returncode == 0:
            return
        print("uv could not install that: now pip tries.", file=sys.stderr, flush=True)
    _run([*pip, *quiet, *what])


def _uv(install: list[str]) -> str | None:
    """The uv in `.venv`, which is installed there first."""
    got = subprocess.run([*install, "--require-hashes", "-r", _UV_LOCK], stderr=subprocess.DEVNULL)
    return shutil.which("uv", path=str(BIN)) if got.returncode == 0 else None


def _index(pip: list[str]) -> dict[str, str]:
    """The index that pip is set up with, as uv is told of it: it reads none of pip's settings."""
    if os.environ.get("UV_DEFAULT_INDEX"):
        return {}
    index = os.environ.get("PIP_INDEX_URL", "")
    if not index:
        asked = subprocess.run(
            [*pip, "config", "get", "global.index-url"], capture_output=True, text=True
        )
        index = asked.stdout.strip() if asked.returncode == 0 else ""
    return {"UV_DEFAULT_INDEX": index} if index else {}


def _run(command: list[str], *, quiet: bool = False) -> None:
    output = subprocess.DEVNULL if quiet else None
    if code := subprocess.run(command, stdout=output).returncode:
        raise InstallError(f"This failed with exit code {code}: {' '.join(command)}")


def main() -> int:
    """Run the command; return its exit code."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or every process compiles all it imports
    os.chdir(ROOT)  # Windows looks for programs in the current folder first
    first, *others = sys.argv[1:]
    try:
        if first == "--debian":
            install_debian(*others)
        else:
            set_up(first)
    except InstallError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
