"""The `upeer` command line: one module per group of commands, loaded only when it is asked for."""
