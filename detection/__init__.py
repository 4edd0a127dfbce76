"""Bytes in, faces and crops out: decode, detect, cut, encode. No Prefect, no file systems."""
