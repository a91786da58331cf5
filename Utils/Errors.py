"""The one exception that means: the user can put this right."""


class InputError(ValueError):
    """Something the user gave cannot be used. The message is one sentence or two: what was got, what
    was expected, what to do. `Main.py` prints it without a traceback and exits with code 2."""
