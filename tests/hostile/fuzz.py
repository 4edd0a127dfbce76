"""Coverage-guided fuzzing of the index readers and the header checks.

`python -m tests.hostile.fuzz TARGET` needs atheris, which no test does. It begins with the hostile
corpus and with good samples, and goes on from what reaches new code. A finding is a file that makes
the target crash, hang, eat memory or raise what it should not; its path is printed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

TARGETS = (
    "zip", "tar", "stream", "nested", "member", "list", "image", "pixels", "profile", "segments",
    "plan",
)  # fmt: skip
_INSTRUMENTED = ["storage", "detection", "PIL"]
_MOST_SEED_BYTES = 1 << 16
_OPTIONS = ("-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-max_len=65536")
_CHILD = "FUZZED_TARGET"  # in the environment of the process that atheris runs in, and ends


@dataclass(frozen=True)
class Result:
    """What was done.

    Attributes:
        seconds: of fuzzing.
        corpus: inputs that each reach something that no other does.
        coverage: places in the code that were reached.
        finding: path of the input that ended it before its time; empty where none did.
    """

    target: str
    executions: int
    seconds: float
    corpus: int
    coverage: int
    finding: str


def seeds(target: str) -> Iterator[bytes]:
    """What to begin with: the hostile corpus, where its files are small, and good samples."""
    from tests.hostile.archives import ARCHIVES
    from tests.hostile.images import IMAGES, signatures

    yield from _samples(target)
    if target in ("image", "pixels", "segments"):
        yield from signatures()
        made = (hostile.make() for hostile in IMAGES.values())
        yield from (image for image in made if len(image) <= _MOST_SEED_BYTES)
    endings = {"zip": (".zip",), "nested": (".zip",), "tar": (".tar",), "list": (".txt",)}
    if (ending := endings.get(target)) is None:  # compressed ones hold too much for a second
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hostile"
        for hostile in ARCHIVES.values():
            if hostile.file.endswith(ending) and not hostile.slow:
                hostile.write(path)
                if path.stat().st_size <= _MOST_SEED_BYTES:
                    yield path.read_bytes()


def _samples(target: str) -> Iterator[bytes]:
    """Good ones."""
    from storage.archives import unpack
    from storage.archives.members import Chunk
    from storage.archives.plan import encode_chunks
    from tests.colours import DISPLAY_P3, grey_profile, profile
    from tests.hostile.archives import TRIPLE
    from tests.storage.test_tar import SUFFIXES, TEN, tarred
    from tests.storage.test_unpack import METHODS
    from tests.storage.test_zip import zipped

    packed = tarred(TEN)
    match target:
        case "zip":
            yield TRIPLE
        case "nested":
            yield zipped([("a.zip", TRIPLE), ("b.tar", packed)])
        case "tar":
            yield packed
        case "stream":
            yield from (compress(packed) for _, compress in SUFFIXES)
        case "member":
            numbers = list(unpack.METHODS)
            yield from (
                bytes([numbers.index(method)]) + compress(b"face" * 500)
                for method, compress, _ in METHODS
            )
        case "profile":
            yield from (profile(DISPLAY_P3), grey_profile(1.4))
        case "list":
            yield b"a.jpg\n# b\nc.jpg"
        case "plan":
            chunks = [Chunk(n, n, 1, 0, 9, b"directory", None, frozenset({n})) for n in range(3)]
            yield from (encode_chunks(chunks[:count]) for count in range(3))


def fuzz(target: str, seconds: int, corpus: Path) -> Result:
    """Fuzzes a target for so many seconds; what it learns stays in the corpus."""
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as begin:
        for number, seed in enumerate(seeds(target)):
            (Path(begin) / str(number)).write_bytes(seed)
        command = [sys.executable, "-m", "tests.hostile.fuzz", target]
        options = [*_OPTIONS, f"-max_total_time={seconds}", f"-artifact_prefix={corpus}/finding-"]
        started = time.monotonic()
        done = subprocess.run(
            command,
            env=os.environ | {_CHILD: json.dumps([*options, str(corpus), begin])},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        took = time.monotonic() - started
    finding = re.search(r"Test unit written to (\S+)", done.stdout)
    if done.returncode and not finding:
        sys.exit(f"The fuzzer itself failed:\n{done.stdout[-2000:]}")
    if finding:
        print(done.stdout[-4000:], file=sys.stderr)
    executions = re.findall(r"number_of_executed_units: (\d+)", done.stdout)
    progress = re.findall(r"cov: (\d+) ft: \d+ corp: (\d+)", done.stdout)
    coverage, size = map(int, progress[-1]) if progress else (0, 0)
    return Result(
        target,
        int(executions[-1]) if executions else 0,
        round(took, 1),
        size,
        coverage,
        finding[1] if finding else "",
    )


def _run(options: list[str]) -> None:
    """In a process of its own: libFuzzer ends it."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=_INSTRUMENTED):
        targets = importlib.import_module("tests.hostile.targets")
    atheris.Setup([sys.argv[0], *options], targets.TARGETS[sys.argv[1]])
    atheris.Fuzz()


def main() -> None:
    """Fuzzes one target and prints what was done; exits 1 with a finding."""
    parser = argparse.ArgumentParser("python -m tests.hostile.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60, help="how long")
    parser.add_argument("--corpus", type=Path, help="folder that keeps what is learned")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    if find_spec("atheris") is None:
        sys.exit("The fuzzer needs atheris: pip install atheris")
    corpus = options.corpus or Path(tempfile.mkdtemp(prefix=f"fuzz-{options.target}-"))
    result = fuzz(options.target, options.seconds, corpus)
    if options.json:
        print(json.dumps(asdict(result)))
    else:
        print(
            f"{result.target}: {result.executions:,} executions in {result.seconds:.0f} s, "
            f"a corpus of {result.corpus}, {result.coverage} places reached, "
            f"{result.finding or 'nothing found'}"
        )
    sys.exit(bool(result.finding))


if __name__ == "__main__":
    if _CHILD in os.environ:
        _run(json.loads(os.environ[_CHILD]))
    else:
        main()
