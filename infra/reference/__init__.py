"""docs/reference, which says what the code says of itself: `python -P -m infra.reference`."""
