"""All errors have one root; those that are no fault of storage are not taken for one."""

import logging
import sys

import pytest

from detection.errors import DetectorError, ImageError, MachineError
from facecrop.errors import FacecropError
from storage.errors import ArchiveError, MemberError, OutputError, StorageError, TransientError
from storage.output.manifest import AccountingError
from tasks.inbox import StartError
from tasks.lifecycle.crashes import CrashedError
from tasks.logs import _PLAIN
from tasks.notify import NotifyError
from tasks.shards import ShardError

OF_STORAGE = [ArchiveError, OutputError, AccountingError]
OF_OTHERS = [TransientError, MemberError, ImageError, MachineError, DetectorError]
OF_RUNS = [ShardError, CrashedError, NotifyError, StartError]


@pytest.mark.parametrize("kind", [*OF_STORAGE, *OF_OTHERS, *OF_RUNS])
def test_every_error_has_the_same_root(kind: type[Exception]) -> None:
    assert issubclass(kind, FacecropError)
    assert issubclass(kind, StorageError) == (kind in OF_STORAGE)


@pytest.mark.parametrize("kind", OF_RUNS)
def test_errors_of_runs_are_one_line_without_secrets(kind: type[Exception]) -> None:
    try:
        raise kind("it read s3://me:hush@bucket/a.zip")
    except FacecropError as error:
        record = logging.LogRecord("run", logging.ERROR, "", 1, "%s", (error,), sys.exc_info())
    assert _PLAIN.filter(record)
    assert record.exc_info is None
    assert "hush" not in record.getMessage()
    assert "hush" not in str(kind("s3://me:hush@bucket"))
