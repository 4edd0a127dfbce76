"""What sets Facecrop up: scripts, the lock files, containers, and servers to test it on."""
