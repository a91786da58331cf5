"""Command lines: converters of flags' values, a parser whose errors are one line each, and where a value came from."""
import argparse
import math

from Utils.Errors import InputError, suggestion

HINT = ' (--help lists every flag)'
UNSET = object()  # the value of a flag that is not given


def number(kind, low=None, high=None, above=None):
    """A converter for argparse: `kind` (int or float) with low <= value <= high and above < value."""
    name = {int: 'a whole number', float: 'a number'}[kind]
    high = 2**31 - 1 if high is None and kind is int else high

    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'got {text!r}, expected {name}') from None
        for fits, bound in ((kind is int or math.isfinite(value), 'that is finite'),
                            (low is None or value >= low, f'of at least {low}'),
                            (above is None or value > above, f'above {above}'),
                            (high is None or value <= high, f'of at most {high}')):
            if not fits:
                raise argparse.ArgumentTypeError(f'got {text}, expected {name} {bound}')
        return value

    return convert


def boolean(text):
    """true/false, yes/no, on/off, 1/0 in any case."""
    word = text.lower()
    if word in ('true', 'yes', 'on', '1'):
        return True
    if word in ('false', 'no', 'off', '0'):
        return False
    raise argparse.ArgumentTypeError(f'got {text!r}, expected true or false (or the flag alone for true)')


def or_none(convert):
    """A converter that also takes the word none, for None."""
    return lambda text: None if text.lower() == 'none' else convert(text)


class NumberList(argparse.Action):
    """Numbers in any of the forms `512 256`, `512,256`, `[512, 256]` and the published `'[1000]'`."""

    def __init__(self, *args, kind, **kwargs):
        super().__init__(*args, **kwargs)
        self.kind = kind

    def __call__(self, parser, namespace, values, option_string=None):
        text = ' '.join(values)
        if text.count('[') != text.count(']'):
            parser.error(f'argument {option_string}: got {text!r}, with a bracket that has no other one; expected '
                         'numbers, as in 512 256 or [512, 256]')
        words = text.replace('[', ' ').replace(']', ' ').replace(',', ' ').split()
        if not words and self.nargs == '+':
            parser.error(f'argument {option_string}: got no number, expected one or more')
        try:
            numbers = tuple(self.kind(word) for word in words)
        except argparse.ArgumentTypeError as error:
            parser.error(f'argument {option_string}: {error}')
        setattr(namespace, self.dest, numbers)


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows each flag's default, and whose it is where an action's `whose` says so; where there is none, the help line
    itself says what happens without the flag, from `; default: ` on."""

    def _get_help_string(self, action):
        if action.default in (None, argparse.SUPPRESS):
            return action.help
        return f'{action.help.partition("; default: ")[0]} (default{getattr(action, "whose", "")}: %(default)s)'


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line each; argparse's own come after a page of usage."""

    def error(self, message):
        raise InputError(message.strip() + HINT)

    def flags(self):
        """name -> action of every flag but --help."""
        return {action.dest: action for action in self._actions
                if action.option_strings and action.dest != 'help'}

    def group(self, title):
        """The actions of the group of flags with that title."""
        return next(group._group_actions for group in self._action_groups if group.title == title)

    def read(self, argv):
        """Of a command line: (values by name of the flags that it gives, words that are not known)."""
        line, unknown = self.parse_known_args(argv, argparse.Namespace(**dict.fromkeys(self.flags(), UNSET)))
        return {name: value for name, value in vars(line).items() if value is not UNSET}, unknown

    def checked(self, values, where):
        """Values by name as the flags' own converters have them, which get them as words of a command line.

        InputError that begins with `where` for one that cannot be. None stays where a flag is left out to say so.
        """
        flags, words = self.flags(), []
        for name, value in values.items():
            if name not in flags:
                raise InputError(f'{where}: there is no flag --{name}. {suggestion(name, flags)}')
            words += words_of(flags[name], value)
        try:
            return {**values, **self.read(words)[0]}
        except InputError as error:
            raise InputError(f'{where}: {str(error).removesuffix(HINT)}') from error


def words_of(action, value):
    """The words that give a flag a value: none for None where that is said by leaving the flag out alone."""
    flag = action.option_strings[0]
    if action.nargs == 0 and isinstance(value, bool):
        return [flag] if value else []
    if value is None and action.type is None and action.choices is None and action.nargs in (None, '*'):
        return []
    if action.nargs in ('+', '*'):
        return [flag, *map(str, value if isinstance(value, (list, tuple)) else [value])]
    return [f'{flag}={value}']
