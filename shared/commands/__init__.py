"""The command line: one file a command. `scripts/` and the installed program call them."""
