"""What a person starts: Prefect flows."""
