"""The pictures of docs/screenshots, made by one command: `python -P -m tests.screenshots`."""
