"""Images worked on in processes of their own."""
