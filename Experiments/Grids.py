"""Which values a sweep tries of which flags: read from the command line or from a file of grids.

A grid is flag -> list of values as texts, or a Range. The words of a value of several words are joined by `_`; `none`
is the flag alone.
"""
import json
from contextlib import suppress
from dataclasses import dataclass
from itertools import product

from Params import build_parser, parse
from Utils.Errors import InputError, suggestion

OURS = {'seed': 'give --seeds', 'out': 'it is the folder of the whole sweep', 'resume': 'a sweep always goes on',
        'overwrite': 'remove the folder of the run', 'load': 'a sweep trains',
        'recommend': 'give --keep_embeddings, and --load the chosen run later'}


@dataclass(frozen=True)
class Range:
    """All numbers from low to high, evenly on a logarithmic scale if log."""

    low: float
    high: float
    log: bool = False

    def __str__(self):
        return f'{self.low:g}..{self.high:g}' + (',log' if self.log else '')


def main_flags():
    """The flags of Main.py: name -> whether it takes several words."""
    return {action.dest: action.nargs in ('+', '*') for action in build_parser()._actions if action.option_strings}


def check_flag(flag):
    known = [name for name in main_flags() if name not in (*OURS, 'help')]
    if flag in OURS:
        raise InputError(f'{flag} cannot be swept: {OURS[flag]}.')
    if flag not in known:
        raise InputError(f'--{flag} is no flag of Main.py. {suggestion(flag, known)}Its --help lists them all.')


def read_grid(words):
    """['latdim=64,128', 'lr=1e-4..1e-2,log'] -> {'latdim': ['64', '128'], 'lr': Range(0.0001, 0.01, True)}."""
    grid = {}
    for word in words:
        flag, equals, values = word.partition('=')
        flag, values = flag.lstrip('-'), values.split(',')
        if not equals or not flag or '' in values:
            raise InputError(f'--grid got {word!r}, expected FLAG=VALUE,VALUE,... such as latdim=64,128, or '
                             'FLAG=LOW..HIGH or FLAG=LOW..HIGH,log.')
        if flag in grid:
            raise InputError(f'--grid has {flag} twice: give all its values at once.')
        check_flag(flag)
        low, dots, high = values[0].partition('..')
        a_range = dots and values[1:] in ([], ['log'])
        grid[flag] = range_of(flag, low, high, values[1:] == ['log']) if a_range else values
    return grid


def range_of(flag, low, high, log=False):
    """A Range of a flag's values; InputError where its ends are none that the flag takes, or not in order."""
    ends = [getattr(parse([f'--{flag}', str(end)], combined=False), flag) for end in (low, high)]
    if any(isinstance(end, bool) or not isinstance(end, (int, float)) for end in ends):
        raise InputError(f'{flag} takes no single number, so that there is no range of it: give its values.')
    if ends[0] >= ends[1] or (log and ends[0] <= 0) or not isinstance(log, bool):
        raise InputError(f'The range {low}..{high} of {flag} was understood as no range: expected a low end below the '
                         'high one, and with log one above 0.')
    return Range(*ends, log)


def read_grids(path, model, data=None):
    """(grid, flags for every run) of a model in a file of grids; data: name of the data set, whose own values stand
    below "data" in place of the others."""
    try:
        content = json.loads(path.read_text())
        models, common = content['models'], content.get('common', {})
        if model not in models:
            raise InputError(f'{path} has no grid for --model {model}. {suggestion(str(model), models)}It has: '
                             f'{", ".join(models)}.')
        listed = {**models[model], **content.get('data', {}).get(data, {}).get(model, {})}
        for flag in (*listed, *common):
            check_flag(flag)
        own = {flag: range_of(flag, **values) if isinstance(values, dict) else [text_of(value) for value in values]
               for flag, values in listed.items()}
        if not all(own.values()):
            raise ValueError('no value')
        grid = {flag: values for flag, values in own.items() if isinstance(values, Range) or len(values) > 1}
        fixed = {flag: text_of(value) for flag, value in common.items() if flag not in grid}
        fixed |= {flag: values[0] for flag, values in own.items() if flag not in grid}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path} is not a file of grids ({type(error).__name__}): expected {{"models": {{MODEL: '
                         '{FLAG: [VALUE, ...]}}, "common": {FLAG: VALUE}}, or {"low": LOW, "high": HIGH, "log": true} '
                         'in the place of a list.') from error
    return grid, [word for flag, value in fixed.items() for word in flag_words(flag, value)]


def text_of(value):
    if isinstance(value, list):
        return '_'.join(map(text_of, value)) or 'none'
    return str(value).lower() if isinstance(value, bool) else str(value)


def flag_words(flag, value):
    """The words of the command line that set a flag."""
    if not main_flags()[flag]:
        return (f'--{flag}', value)
    return (f'--{flag}', *(() if value == 'none' else value.replace('_', ' ').split()))


def points_of(grid):
    """All combinations of a grid's lists, as {flag: value}."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def edges_of(grid, point, least=3):
    """Flags of which the point has the lowest or the highest of `least` numbers or more, so that a better value may lie
    beyond."""
    found = []
    for flag, values in grid.items():
        with suppress(ValueError):
            numbers = sorted({float(value) for value in values}) if not isinstance(values, Range) else ()
            if len(numbers) >= least and float(point[flag]) in (numbers[0], numbers[-1]):
                found.append(flag)
    return found


def name_of(point):
    return ','.join(f'{flag}={"_".join(value.split())}' for flag, value in point.items()) or 'default'


def words_of(point):
    return [word for flag, value in point.items() for word in flag_words(flag, value)]
