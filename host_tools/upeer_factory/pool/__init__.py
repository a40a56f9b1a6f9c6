"""Licences: the pool, its databases, keys and audit chain."""
