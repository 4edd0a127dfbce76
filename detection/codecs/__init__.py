"""Image formats: what a file is, which way is up, its pixels."""
