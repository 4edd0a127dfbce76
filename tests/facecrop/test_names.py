"""The public names, in fresh processes: what has been imported before would hide what they cost."""

import subprocess
import sys
from importlib.metadata import version

import pytest


def run(program: str) -> str:
    command = [sys.executable, "-P", "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_importing_the_package_imports_nothing_heavy_and_changes_nothing() -> None:
    told = run("""
import os, signal, sys, threading
def state():
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    return dict(os.environ), os.getcwd(), list(sys.path), handlers, threading.enumerate()
before, modules = state(), set(sys.modules)
import facecrop
print(state() == before)
print({name.partition(".")[0] for name in set(sys.modules) - modules} - sys.stdlib_module_names)
print(dir(facecrop))
""")
    unchanged, imported, names = told.splitlines()
    assert unchanged == "True"
    assert imported == "{'facecrop'}"
    public = {"CropSettings", "Preview", "RecropSettings", "Summary", "crop", "crop_archive"}
    assert names == str(sorted(public | {"preview", "recrop"}))


@pytest.mark.slow
def test_using_the_names_leaves_the_environment_as_it_is() -> None:
    told = run("""
import os, sys
before = dict(os.environ)
from facecrop import CropSettings, RecropSettings, Summary, crop, recrop
print("prefect" in sys.modules, os.environ == before)
from facecrop import crop_archive
print("prefect" in sys.modules, os.environ == before, crop_archive.name)
print(hasattr(sys.modules["facecrop"], "nothing"), sys.modules["facecrop"].__version__)
""")
    assert told.splitlines() == [
        "False True",
        "True True crop-archive",
        f"False {version('facecrop')}",
    ]
