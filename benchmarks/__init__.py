"""What Facecrop finds, what it costs, and how near it comes to its limit: one command each."""
