"""The flags of Main.py as docs/USAGE.md lists them, made from Params.py: python docs/usage.py

Rewrites what stands between the page's `<!-- flags -->` and `<!-- /flags -->`; a test compares the two.
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Params import Parser, build_parser
from Utils.Command import run_command
from Utils.Errors import InputError

PAGE = Path(__file__).resolve().parent / 'USAGE.md'
START, END = '<!-- flags -->', '<!-- /flags -->'


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


def row_of(action):
    help_line = (action.help % vars(action)).replace('<', '&lt;').replace('>', '&gt;')
    return '| ' + ' | '.join(cell.replace('|', r'\|') for cell in (
        f'`{words_of(action)}`', default_of(action), help_line)) + ' |'


def flag_tables(parser):
    """A heading and a table for every group of flags, as the parser has them."""
    parts = []
    for group in parser._action_groups:
        flags = [action for action in group._group_actions
                 if action.option_strings and action.help != argparse.SUPPRESS and action.dest != 'help']
        if flags:
            parts.append('\n'.join([f'### {group.title[0].upper()}{group.title[1:]}',
                                    *([group.description, ''] if group.description else []),
                                    '| flag | default | what it does |', '| --- | --- | --- |', *map(row_of, flags)]))
    return '\n\n'.join(parts)


def renewed(page):
    """The page with the tables between its markers made anew."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise InputError(f'{PAGE} lacks {START} or {END}, between which the flags are listed: put them back.')
    return f'{before}{START}\n{flag_tables(build_parser())}\n{END}{after}'


def renew():
    PAGE.write_text(renewed(PAGE.read_text()))
    print(f'written: {PAGE}')


def main(argv=None):
    def start():
        Parser(prog='docs/usage.py', description=__doc__.split('\n')[0], allow_abbrev=False).parse_args(argv)
        renew()

    return run_command('docs/usage.py', start)


if __name__ == '__main__':
    sys.exit(main())
