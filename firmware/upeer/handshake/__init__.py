"""How two ends meet: pairs, invites, handshake messages."""
