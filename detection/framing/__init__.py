"""Where a crop lies in its photograph: pure arithmetic, the same in a child and in its parent."""
