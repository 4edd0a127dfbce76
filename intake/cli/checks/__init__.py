"""What `facecrop doctor` checks."""
