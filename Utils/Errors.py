"""The exceptions that a user meets, each as one sentence."""
from difflib import get_close_matches

import torch


class InputError(ValueError):
    """Something the user gave cannot be used. The message is one sentence or two: what was got, what
    was expected, what to do. `Main.py` prints it without a traceback and exits with code 2."""


class NotFiniteError(ArithmeticError):
    """A loss or a parameter is NaN or infinite; the message says which, and at which step."""


class StoppedError(Exception):
    """The run was asked to stop by a signal and has saved what is needed to go on."""

    def __init__(self, number, message):
        super().__init__(message)
        self.exit_code = 128 + number


def suggestion(name, known):
    """'Did you mean ...? ' where a known name is close, else nothing."""
    lower = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), lower, 1)
    return f'Did you mean {lower[near[0]]}? ' if near else ''


def require_at_most(flag, value, most, told):
    """InputError where a flag asks for more than there are; told: of what."""
    if value > most:
        raise InputError(f'--{flag} {value} is too many for the {told}: lower it.')


def is_out_of_memory(error):
    """Whether it says that memory ran out, on the CPU or a GPU."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
