"""The heap of the virtual boards that end-to-end tests boot: one place, to be cut down with the agent."""

HEAP = "256K"
