"""`python -P -m deployments.serve`: this machine runs what is handed to `crop-archive/local`."""

from __future__ import annotations

import os

from detection.sandbox.safepath import safe_path
from tasks.environment import set_environment

if __name__ == "__main__":
    set_environment()  # before Prefect is imported
    os.environ.update(safe_path(os.environ))  # for the processes of its runs
    from flows.crop_archive import crop_archive

    crop_archive.serve(name="local", description=crop_archive.description, limit=1)
