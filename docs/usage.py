"""The flags of Main.py and who reads them, as docs/USAGE.md lists them: python docs/usage.py

Rewrites what stands between the page's `<!-- flags -->` and `<!-- /flags -->`, from Params.py, and between its
`<!-- models -->` and `<!-- /models -->`, from the models' classes and Baselines/defaults.json. A test compares them.
"""
import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Baselines import MODELS
from Params import OWN, Parser, build_parser
from Utils.Command import run_command
from Utils.Errors import InputError

PAGE = Path(__file__).resolve().parent / 'USAGE.md'


def words_of(action):
    """A flag as it is written on the command line: --batch N, --dims WIDTH ..., --norm [true|false]."""
    if action.nargs == 0:
        return action.option_strings[0]
    usual = {int: 'N', float: 'X'}.get(type(action.default), action.dest.upper())
    value = action.metavar or ('|'.join(map(str, action.choices)) if action.choices else usual)
    form = {'?': '[{}]', '*': '[{} ...]', '+': '{} ...'}.get(action.nargs, '{}')
    return f'{action.option_strings[0]} {form.format(value)}'


def default_of(action):
    """What counts where the flag is not given; empty where its help line says what happens then."""
    value = action.default
    if action.nargs == 0 or value is None:
        return ''
    text = ' '.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return f'`{text.lower() if isinstance(value, bool) else text}`'


def table(columns, rows):
    lines = [columns, ['---'] * len(columns), *rows]
    return '\n'.join('| ' + ' | '.join(cell.replace('|', r'\|') for cell in line) + ' |' for line in lines)


def flag_tables():
    """A heading and a table for every group of flags, as the parser has them."""
    parts = []
    for group in build_parser()._action_groups:
        flags = [action for action in group._group_actions
                 if action.option_strings and action.help != argparse.SUPPRESS and action.dest != 'help']
        if flags:
            rows = [(f'`{words_of(action)}`', default_of(action),
                     (action.help % vars(action)).replace('<', '&lt;').replace('>', '&gt;')) for action in flags]
            parts.append(f'### {group.title[0].upper()}{group.title[1:]}\n'
                         + table(('flag', 'default', 'what it does'), rows))
    return '\n\n'.join(parts)


def model_table():
    """What each model reads beside the flags of every run, in the parser's order, and its own defaults."""
    own, order = json.loads(OWN.read_text()), list(build_parser().flags())
    rows = []
    for name, model in MODELS.items():
        elsewhere = [f'on {data}: {in_words(models[name])}' for data, models in own['data'].items() if name in models]
        rows.append((f'`{name}`', ', '.join(sorted(model.flags, key=order.index)),
                     '; '.join([in_words(own['models'].get(name, {})), *elsewhere])))
    return table(('model', 'flags it reads', 'its own defaults'), rows)


def in_words(values):
    return ', '.join(f'{name} {value:g}' if isinstance(value, float) else f'{name} {value}'
                     for name, value in values.items())


def renewed(page):
    """The page with the tables between its markers made anew."""
    for name, text in {'flags': flag_tables(), 'models': model_table()}.items():
        before, start, rest = page.partition(f'<!-- {name} -->')
        _, end, after = rest.partition(f'<!-- /{name} -->')
        if not start or not end:
            raise InputError(f'{PAGE} lacks <!-- {name} --> or <!-- /{name} -->, between which a table belongs: put '
                             'them back.')
        page = f'{before}{start}\n{text}\n{end}{after}'
    return page


def main(argv=None):
    def start():
        Parser(prog='docs/usage.py', description=__doc__.split('\n')[0], allow_abbrev=False).parse_args(argv)
        PAGE.write_text(renewed(PAGE.read_text()))
        print(f'written: {PAGE}')

    return run_command('docs/usage.py', start)


if __name__ == '__main__':
    sys.exit(main())
