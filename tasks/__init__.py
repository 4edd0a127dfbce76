"""Prefect tasks: retries, limits, progress, artifacts. They call detection/ and storage/."""
