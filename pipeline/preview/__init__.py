"""What a batch would come to, from some of its members: before anything is decided."""

COUNT = 200
"""Members in a sample, where nothing else is said: seconds of work, minutes with large ones."""

MOST = 10_000
"""Members in a sample, whose rows and small pictures are held in memory."""
