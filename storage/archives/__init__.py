"""Archives of photographs, opened and read a range at a time."""
