"""Datagrams through the pipe to the host, as `host32` has them."""

from host32 import receive, send
