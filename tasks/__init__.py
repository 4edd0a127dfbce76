"""Prefect tasks: retries, limits, progress, artifacts. They call pipeline/."""
