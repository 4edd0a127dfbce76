"""What happens to a run: crashes, suspension, priority, limits, a server that is gone."""
