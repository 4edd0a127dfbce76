"""A batch's output: its claim, crops, parts and tables."""
