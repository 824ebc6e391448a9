"""Commands that take more than a few lines; cli.py adds them to the group."""
