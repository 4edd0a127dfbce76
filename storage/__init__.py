"""fsspec in, fsspec out: archives, crops, parts and the manifest. No Prefect, no pixels."""
