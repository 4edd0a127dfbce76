"""A batch that is killed again and again ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from intake.cli.console import DONE_WITH_FAILURES
from intake.cli.samples import write_sample
from tests.flows.batches import result

KILLS = 10
MEMBERS = 180
CHUNKS_A_RUN = 4  # of 90: a run is killed soon after so many, so that none comes to its end


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_kills_at_random_moments_leave_the_tree_of_an_undisturbed_run(
    prefect: dict[str, str], tmp_path: Path
) -> None:
    sample = tmp_path / "sample.zip"
    write_sample(sample, MEMBERS)

    def start(output: Path, *, plain: bool = False) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "facecrop",
            "crop",
            str(sample),
            "--output",
            str(output),
        ]
        return subprocess.Popen(
            [*command, "--chunk-members", "2", "--no-prefect" if plain else "--prefect"],
            env=os.environ | prefect,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    undisturbed = tmp_path / "undisturbed"
    assert (
        start(undisturbed, plain=True).wait(300) == DONE_WITH_FAILURES
    )  # one image of the sample is damaged
    expected = result(str(undisturbed))

    killed = tmp_path / "killed"
    moments = random.Random(20)
    for kill in range(KILLS):  # what one with a server leaves is gone on with without, too
        done = parts(killed)
        run = start(killed, plain=kill % 3 > 0)
        wait_for_parts(run, killed, done + moments.randint(1, CHUNKS_A_RUN))
        time.sleep(moments.uniform(0, 0.1))  # now it is somewhere in the next chunks
        run.send_signal(signal.SIGKILL)
        assert run.wait(60) == -signal.SIGKILL
        assert parts(killed) > done
    assert not (killed / "manifest.parquet").exists(), "the kills came too late to show anything"

    assert start(killed).wait(300) == DONE_WITH_FAILURES
    assert result(str(killed)) == expected


def parts(output: Path) -> int:
    """How many chunks are done."""
    folder = output / "parts"
    return len(list(folder.iterdir())) if folder.exists() else 0


def wait_for_parts(run: subprocess.Popen[bytes], output: Path, count: int) -> None:
    while parts(output) < count:
        assert run.poll() is None, "the run ended by itself"
        time.sleep(0.005)
