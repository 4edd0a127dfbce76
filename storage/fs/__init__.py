"""Local disks, object stores and the web, by URI."""
