"""Each fault of the proxy befalls one request, and costs a reader of archives one try at most."""

from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from intake.cli.samples import write_sample
from storage.archives.members import ChunkSize, Limits
from storage.archives.opening import open_archive
from storage.errors import TransientError
from storage.output.counts import Status
from storage.output.manifest import MemberRow, encode_part
from storage.output.output import Output
from tests.faults.proxy import FAULTS, FaultProxy, fault_proxy
from tests.services import S3

pytestmark = [pytest.mark.service, pytest.mark.timeout(700)]

MEMBERS = 60
LIMITS = Limits(1 << 28)


@pytest.fixture
def proxy(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Before the S3-compatible server, and the only way that fsspec knows to it."""
    with fault_proxy(s3.endpoint) as faults:
        monkeypatch.setenv("AWS_ENDPOINT_URL", faults.endpoint)
        fsspec.filesystem("s3").clear_instance_cache()
        yield faults
    fsspec.filesystem("s3").clear_instance_cache()


@pytest.mark.parametrize("fault", FAULTS)
def test_reading(fault: str, proxy: FaultProxy, s3: S3, tmp_path: Path) -> None:
    sample = tmp_path / "sample.zip"
    write_sample(sample, MEMBERS)
    uri = f"s3://{s3.bucket}/faults/{fault.replace(' ', '-')}.zip"
    fsspec.filesystem("s3").put_file(str(sample), uri)
    size = ChunkSize(20, 1 << 26)
    right = open_archive(str(sample), LIMITS)
    wanted = [entry for chunk in right.chunks(size) for entry in right.read(chunk)]

    archive = open_archive(uri, LIMITS)
    chunks = list(archive.chunks(size))
    proxy.order(fault)
    try:
        read = [entry for chunk in chunks for entry in archive.read(chunk)]
    except TransientError:
        read = [entry for chunk in chunks for entry in archive.read(chunk)]
    assert proxy.injected == {fault: 1}
    assert [(one.name, one.data and bytes(one.data), one.skip) for one in read] == [
        (one.name, one.data and bytes(one.data), one.skip) for one in wanted
    ]
    assert not any(one.error for one in read)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not fault.endswith("range")])
def test_writing(fault: str, proxy: FaultProxy, s3: S3) -> None:
    place = f"s3://{s3.bucket}/faults/out-{fault.replace(' ', '-')}"
    output = Output(place)
    output.claim({"format": 1, "archive": {}, "settings": {}}, "resume")
    crops = {f"crops/{number}.jpg": bytes([number]) * 9000 for number in range(40)}
    proxy.order(fault)
    try:
        output.put_crops(0, crops)
    except TransientError:
        output.put_crops(0, crops)
    assert proxy.injected == {fault: 1}
    files = fsspec.filesystem("s3", use_listings_cache=False)
    assert {name: files.cat_file(f"{place}/{name}") for name in crops} == crops
    assert len(files.find(f"{place}/crops")) == len(crops)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_batch_that_is_read_again(fault: str, proxy: FaultProxy, s3: S3) -> None:
    place = f"s3://{s3.bucket}/faults/read-{fault.replace(' ', '-')}"
    output = Output(place)
    output.claim({"format": 1, "archive": {}, "settings": {}}, "resume")
    failed = [MemberRow(number, "a.jpg", Status.FAILED, 7, error="empty") for number in range(300)]
    output.put_part(0, encode_part(failed))
    output.finish(300, 1)
    reads: list[Callable[[], object]] = [lambda: list(output.failed_rows())]
    if not fault.endswith("range"):  # parts and the summary are read whole
        reads += [output.totals, lambda: output.counts([0])]
    for read in reads:
        right = read()
        proxy.order(fault)
        try:
            assert read() == right
        except TransientError:
            assert read() == right
    assert proxy.injected == {fault: len(reads)}
