"""What lies below the folder or prefix in which the HTTP service keeps uploads and outputs."""

UPLOADS = "uploads"
BATCHES = "batches"
RECORDS = "upload-records"  # away from the folders that are cropped as archives


def part_name(name: str) -> str:
    """What a file on a local disk is called while it grows."""
    return f".{name}.part"


def reserved(store: str) -> list[str]:
    """Where a service keeps everybody's uploads and outputs, each with a slash at its end."""
    return [f"{store}/{folder}/" for folder in (UPLOADS, RECORDS, BATCHES)]
