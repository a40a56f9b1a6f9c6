"""What every chapter uses, and nothing of the protocol: time, errors, wire formats."""
