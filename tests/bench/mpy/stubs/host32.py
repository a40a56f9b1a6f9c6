"""The host's end of the shims of board32: nothing here asks for it."""
