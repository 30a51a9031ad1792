"""The command line: one file a command family, each loaded only when its command is given.

The only room that knows the terminal and the environment.
"""
