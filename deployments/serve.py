"""`python -m deployments.serve`: this machine runs whatever is handed to `crop-archive/local`."""

from __future__ import annotations

from flows.crop_archive import crop_archive

if __name__ == "__main__":
    crop_archive.serve(name="local", description=crop_archive.description, limit=1)
