"""Two ends: packets, streams, loss recovery, paths."""
