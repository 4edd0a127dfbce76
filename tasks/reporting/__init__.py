"""What a run shows of itself on the Prefect server: its page, artifacts, names, progress."""
