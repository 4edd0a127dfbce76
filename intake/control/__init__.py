"""Batches as a Prefect server sees them."""
