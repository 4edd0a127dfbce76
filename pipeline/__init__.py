"""A batch in plain Python, from archive to report. Knows nothing of Prefect."""
