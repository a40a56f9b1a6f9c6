"""Primitives, on both interpreters: AEAD, HKDF, X25519, Noise."""
