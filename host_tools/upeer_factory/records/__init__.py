"""What is kept of each board: the outbox and labels."""
