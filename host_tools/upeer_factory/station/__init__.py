"""The station: lanes, screen, counters."""
