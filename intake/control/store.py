"""What lies below the folder or prefix in which the HTTP service keeps what is handed in."""

UPLOADS = "uploads"
BATCHES = "batches"
PREVIEWS = "previews"
RECORDS = "upload-records"  # away from the folders that are cropped as archives


def part_name(name: str) -> str:
    """What a file on a local disk is called while it grows."""
    return f".{name}.part"


def reserved(store: str) -> list[str]:
    """Where a service keeps what is everybody's, each with a slash at its end."""
    return [f"{store}/{folder}/" for folder in (UPLOADS, RECORDS, BATCHES, PREVIEWS)]
