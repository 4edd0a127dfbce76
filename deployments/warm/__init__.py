"""Runs that are forked from a process that has imported Prefect and the flows."""
