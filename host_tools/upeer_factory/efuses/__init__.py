"""What is burned for good: plans, runs, state."""
