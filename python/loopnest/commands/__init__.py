"""The commands of `loopnest` that fill files of their own; cli.py adds them to the group."""
