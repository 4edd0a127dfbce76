"""How many cores a container's limits leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import cores

_V2 = "0::/kubepods/pod1/worker\n"
_V1 = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n"


@pytest.mark.parametrize(
    ("own", "files", "most"),
    [
        (_V2, {"kubepods/pod1/worker/cpu.max": "200000 100000\n"}, 2),
        (_V2, {"kubepods/pod1/worker/cpu.max": "150000 100000\n"}, 2),
        # a group around it has less; in a container its own group is the root
        (
            _V2,
            {"kubepods/pod1/worker/cpu.max": "max 100000", "kubepods/cpu.max": "300000 100000"},
            3,
        ),
        (_V2, {"cpu.max": "10000 100000\n"}, 1),
        (_V2, {"cpu.max": "max 100000\n"}, 64),
        (_V1, {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        (_V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        (_V1, {"cpu/docker/abc/cpu.cfs_quota_us": "400000\n"}, 64),
        ("", {"cpu.max": "what is this\n"}, 64),
    ],
)
def test_no_more_than_a_limit_on_cpu_time_comes_to(
    own: str, files: dict[str, str], most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    (tmp_path / "own").write_text(own)
    monkeypatch.setattr(cores, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "_OWN", tmp_path / "own")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert cores.cores() == most
    (tmp_path / "own").unlink()
    assert cores.cores() == 64
