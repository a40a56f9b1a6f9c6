"""The heap of the virtual boards that end-to-end tests boot."""

HEAP = "200K"  # 176K, the least that the agent is made for, and what the shims take for what a chip has in its flash
ROOMY = "256K"  # where the test itself needs more: eight channels have 64 KiB of buffers, several sessions likewise
