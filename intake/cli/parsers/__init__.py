"""The command line's grammar: every command, argument and flag of `facecrop`."""
