"""An end and its servers: login, control packets, lookup."""
