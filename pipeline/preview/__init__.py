"""What a batch would come to, from some of its members: before anything is decided."""
