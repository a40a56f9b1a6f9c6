"""One board: its licence, the proof, the self-test."""
