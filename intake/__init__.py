"""The ways in besides Prefect itself."""
