"""What is registered on a Prefect server."""
