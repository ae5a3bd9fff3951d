"""The command line: one module per command, and the only room that reads the environment, prints or exits."""
