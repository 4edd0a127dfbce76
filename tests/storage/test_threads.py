"""Plans and lots are read without pyarrow's threads: these abort a Python that ends meanwhile."""

import os
import subprocess
import sys

import pytest

from detection.forking.start import QUIET

READ = """
import os
from storage.archives.members import Chunk
from storage.archives.plan import decode_chunks, encode_chunks
from storage.fs.fingerprint import Fingerprint
from storage.output.lots import Files, Lot, decode_lot, encode_lot

plan = encode_chunks([Chunk(0, 0, 1, 0, 512)])
lot = encode_lot(Lot(Files(["a.jpg"], [1], ["v"], [1], Fingerprint(1, "v")), 0, 0))
before = os.listdir("/proc/self/task")
assert decode_chunks(plan)
assert decode_lot("lot", lot).files.paths
assert os.listdir("/proc/self/task") == before
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a /proc is asked how many threads there are")
def test_no_thread_is_started() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", READ], env=os.environ | QUIET, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
