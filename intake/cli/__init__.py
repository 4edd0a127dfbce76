"""The command `facecrop`."""
