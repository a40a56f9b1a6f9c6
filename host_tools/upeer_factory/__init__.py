"""The production line: flash, burn, prove, label; the licence pool and its audited records."""
