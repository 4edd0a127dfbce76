"""Where samples run: folders with the files that they name, and the servers that they ask.

What a sample calls by a name of its own, a port, a folder or a bucket, is made here, in the tables
below; what it says of itself is all that it gets.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from detection.forking.start import QUIET, ForkServerProcess
from detection.sandbox.process import FORK_SERVER, child_environment
from infra.docs import ROOT
from intake.cli.samples import write_sample
from tests.docs.blocks import OUTPUT, Block
from tests.docs.commands import SampleError, console, needs, shell_text
from tests.docs.shape import compare
from tests.docs.warm import COMMAND

_SECONDS = 300
_IMAGES = "detection.sandbox.forkserver"
_DAMAGED = "cut-short"  # in the name of the sample's damaged image
_END = "\x1e"
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_BUCKET = re.compile(r"s3://([a-z0-9-]+)")

_SHIM = """#!{python} -IS
import json, os, sys
program = os.path.basename(sys.argv[0])
os.environ[{command!r}] = json.dumps([program, *sys.argv[1:]])
once = [{python!r}, "-P", "-m", "tests.docs.warm"]  # where nothing is forked
sys.argv = ["client", os.environ["SAMPLE_SOCKET"], *once]
sys.path.insert(0, {root!r})
from deployments.warm.client import main
main()
"""
_CURL = """#!/bin/sh
case "$*" in *--fail*) exec {curl} "$@" ;; *) exec {curl} --fail-with-body "$@" ;; esac
"""
_PROGRAMS = ("facecrop", "prefect", "python", "python3")


def photographs(path: Path) -> None:
    """Write a ZIP with six photographs, of which all can be read."""
    _without(path, 7)


def with_failures(path: Path) -> None:
    """Write a ZIP as `facecrop sample` does, with one damaged image."""
    write_sample(path, 14)


def _without(path: Path, count: int) -> None:
    whole = path.with_name(path.name + ".whole")
    write_sample(whole, count)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for one in source.infolist():
            if _DAMAGED not in one.filename:
                target.writestr(one, source.read(one))
    whole.unlink()


def compressed_tar(path: Path) -> None:
    """Write the same photographs as a compressed TAR."""
    folder(path.with_suffix(".d"))
    with tarfile.open(path, "w:gz") as target:
        target.add(path.with_suffix(".d"), "photos")
    shutil.rmtree(path.with_suffix(".d"))


def folder(path: Path) -> None:
    """Unpack the same photographs."""
    packed = path.with_name(path.name + ".zip")
    photographs(packed)
    with zipfile.ZipFile(packed) as source:
        source.extractall(path)
    packed.unlink()


def photograph(path: Path) -> None:
    """Write one photograph."""
    folder(path.with_suffix(".d"))
    found = sorted(path.with_suffix(".d").rglob("*.jpg"))
    shutil.copy(found[0], path)
    shutil.rmtree(path.with_suffix(".d"))


def pupils(path: Path) -> None:
    """Write a folder of a class."""
    folder(path)
    (path / "portraits").mkdir()
    sorted(path.rglob("*.jpg"))[0].rename(path / "portraits" / "anna.jpg")


def roster(path: Path) -> None:
    """Write a list of the people on the photographs."""
    path.write_text("stem,first,last,class\nastronaut-0001,Eileen,Collins,3a\n")


FILES: dict[str, Callable[[Path], None] | str] = {
    "photos.zip": photographs,
    "class.zip": photographs,
    "party.zip": photographs,
    "spring.zip": with_failures,
    "a.jpg": photograph,
    "b.jpg": photograph,
    "people.csv": roster,
    "/data/spring.zip": with_failures,
    "/data/inbox/class-5a/": pupils,
    "/data/batches/class-5a": "facecrop crop /data/inbox/class-5a/ --output /data/batches/class-5a",
    "s3://school/2026.zip": photographs,
    "s3://school/2026.tar.gz": compressed_tar,
    "s3://photos/in/photos.zip": photographs,
    "s3://photos/facecrop/in/wedding.zip": photographs,
    "s3://photos/facecrop/a.jpg": photograph,
}
"""What samples read: where it stands in them, and what makes it, which may be a command.

What is not here, an earlier sample of the page has to make.
"""


def wanted(blocks: list[Block]) -> set[str]:
    """The servers that some blocks ask: see `needs`."""
    return {server for block in blocks for server in needs(_asked(block))}


def _programs(blocks: list[Block]) -> Iterator[Block]:
    """The blocks, of which those of Python that follow each other are one program."""
    program: Block | None = None
    for block in blocks:
        if program and block.language == "python":
            program = replace(program, text=f"{program.text}\n{block.text}")
            continue
        if program:
            yield program
        program = block if block.language == "python" else None
        if not program:
            yield block
    if program:
        yield program


def _asked(block: Block) -> str:
    """What of a block tells which servers and files it asks for."""
    return block.text if block.language == "python" else shell_text(block)


@dataclass
class Stage:
    """Runs the samples of one page after the other, each page in a folder of its own.

    Attributes:
        home: a folder for all of it.
        environment: what every sample's command has in its environment.
        served: the same for those that ask a Prefect server, where there is one.
        said: what stands in documents, and what it is here.
    """

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    served: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    _made: set[str] = field(default_factory=set)
    _warm: dict[str, ForkServerProcess] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.said["/data"] = f"{self.home}/data"
        programs = self.home / "bin"
        programs.mkdir()
        for name in _PROGRAMS:
            shim = _SHIM.format(python=sys.executable, command=COMMAND, root=str(ROOT))
            (programs / name).write_text(shim)
            (programs / name).chmod(0o755)
        (programs / "activate").write_text("")
        # what is refused is an error to a test, which it is not to curl by itself
        curl = f'"{shutil.which("curl")}" -sS'
        (programs / "curl").write_text(_CURL.format(curl=curl))
        (programs / "curl").chmod(0o755)
        (self.home / "user").mkdir()
        others = ("PREFECT_", "FACECROP_", "AWS_")
        self.environment |= {
            **{name: value for name, value in os.environ.items() if not name.startswith(others)},
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(self.home / "user"),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.home),
            "COLUMNS": "100",
        }

    def close(self) -> None:
        """End what forks the commands."""
        for server in self._warm.values():
            server.close()

    def run(self, page: str, blocks: list[Block]) -> None:
        """Run the samples of a page, in order.

        Raises:
            SampleError: one fails, or does not print what the page says.
        """
        place = self.home / re.sub(r"\W", "-", page)
        (place / ".venv").mkdir(parents=True)
        (place / ".venv" / "bin").symlink_to(self.home / "bin")
        state = place / ".state"
        state.write_text("")
        said = dict(self.said)
        faults = []
        for block in _programs(blocks):
            try:
                self._run(block, place, said)
            except SampleError as error:
                faults.append(str(error))
        if faults:
            raise SampleError("\n\n".join(faults))

    def _run(self, block: Block, place: Path, said: dict[str, str]) -> None:
        self._provide(place, block.text)
        environment = self.warm(served="prefect" in wanted([block]))
        if block.language == "console":
            self._console(block, place, environment, said)
            return
        text = _replaced(block.text, said)
        if block.language == "python":
            script = place / f"sample-{block.line}.py"
            script.write_text(text)
            text = f"python {script.name}"
        self._call(block, place, environment, text)

    def warm(self, *, served: bool) -> dict[str, str]:
        """Start what forks commands, unless it is there; give their environment.

        Args:
            served: of those that ask a Prefect server.
        """
        environment = {**self.environment, **(self.served if served else {}), **QUIET}
        for key, module in ((f"commands {served}", "tests.docs.warm"), ("images", _IMAGES)):
            if key not in self._warm:
                own = child_environment(environment) if module == _IMAGES else environment
                self._warm[key] = ForkServerProcess(module, own)
        return {
            **environment,
            "SAMPLE_SOCKET": self._warm[f"commands {served}"].path,
            FORK_SERVER: self._warm["images"].path,
        }

    def _provide(self, place: Path, text: str) -> None:
        """Make the files and buckets that a sample names."""
        buckets = _Buckets(set(_BUCKET.findall(text)))
        for name, make in FILES.items():
            if not re.search(rf"(?<![\w/:.-]){re.escape(name)}", text):
                continue
            if isinstance(make, str):
                if name not in self._made:
                    self._made.add(name)
                    self._run(Block("FILES", 0, "sh", make), place, dict(self.said))
                continue
            if name.startswith("s3://"):
                made = place / ".made"
                make(made)
                buckets.put(name, made.read_bytes())
                made.unlink()
                continue
            path = Path(_replaced(name, self.said)) if name[0] == "/" else place / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                make(path)

    def _console(
        self, block: Block, place: Path, environment: Mapping[str, str], said: dict[str, str]
    ) -> None:
        for command, expected in console(block):
            text = f"set +e\n{_replaced(command, said)}\nprintf '{_END}%s' $?"
            printed, _, code = self._call(block, place, environment, text).rpartition(_END)
            if code not in ("0", "3"):  # 3: some images failed
                raise SampleError(f"{block.place}: {command}: exit code {code}\n{printed}")
            ids = (dict.fromkeys(_UUID.findall(one)) for one in (expected, printed))
            for shown, real in zip(*ids, strict=False):
                said.setdefault(shown, real)
            if block.mark != OUTPUT:
                compare(f"{block.place}: {command}", expected, printed, said)

    def _call(self, block: Block, place: Path, environment: Mapping[str, str], text: str) -> str:
        # what a sample sets, the page's later ones have
        keep = "export -p | grep -v SAMPLE_SOCKET > .state"
        script = f"set -a; . ./.state\nset -euo pipefail\n{text}\n{keep}\n"
        if block.language == "sh":
            script = "trap 'echo \"at: $BASH_COMMAND\"' ERR\n" + script
        with (place / ".printed").open("w+") as printed:
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=place,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                timeout=_SECONDS,
            )
            printed.seek(0)
            output = printed.read()
        if done.returncode:
            raise SampleError(f"{block.place}: exit code {done.returncode}\n{output}\n{text}")
        return output


class _Buckets:
    """Buckets of the test's object store, which are made."""

    def __init__(self, names: set[str]) -> None:
        import botocore.session  # type: ignore[import-untyped]

        if names:
            self._client = botocore.session.get_session().create_client(
                "s3",
                endpoint_url=os.environ["AWS_ENDPOINT_URL"],
                region_name=os.environ["AWS_DEFAULT_REGION"],
                aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
            )
            there = {one["Name"] for one in self._client.list_buckets()["Buckets"]}
            for name in names - there:
                self._client.create_bucket(Bucket=name)

    def put(self, uri: str, data: bytes) -> None:
        """Put an object into one of them."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self._client.put_object(Bucket=bucket, Key=key, Body=data)


def _replaced(text: str, said: Mapping[str, str]) -> str:
    for shown in sorted(said, key=len, reverse=True):
        whole = f"(?<![\\w.]){re.escape(shown)}(?!\\w)" if shown[0] == "/" else re.escape(shown)
        text = re.sub(whole, said[shown].replace("\\", r"\\"), text)
    return text
