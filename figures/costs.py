"""What an epoch of each variant costs beside one of the released setting: python figures/costs.py --data_dir DIR

Of the variants of figures/variants.py and of the parts of figures/parts.py that have runs, with TikTok's matrices and
stand-in features, on the CPU: about 20 minutes on two cores on which nothing else is at work. Writes variants_cost.csv,
whose last column those two scripts show. With --missing only those that the published one lacks are timed, whose rows
are kept.
"""
import shlex
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Benchmark.Epochs import costs
from Experiments.Jobs import settings_by
from Experiments.SavedRuns import find_runs
from Experiments.Tables import write_csv
from figures import parts, variants
from figures.runs import command_line, read_command_line
from Params import parse
from Utils.Command import run_command

NAME = 'costs'


def wanted():
    """(table, name, settings) of what is timed, the released setting first."""
    for name in variants.VARIANTS:
        yield variants.NAME, name, parse(shlex.split(f'{variants.BASE} {variants.flags_of(name)}'))
    chosen = find_runs(parts.place_of(parts.ROOT), 'chosen')
    for name in parts.CHOSEN, *parts.PARTS:
        if chosen and (name == parts.CHOSEN or find_runs(parts.ROOT, name)):
            own = shlex.split(parts.PARTS[name][1]) if name in parts.PARTS else ()
            yield parts.NAME, name, settings_by(('--like', str(chosen[0].folder), *own))


def main(argv=None):
    parser = command_line(NAME, __doc__)
    parser.add_argument('--missing', action='store_true', help='time only what the published table lacks')
    options, _ = read_command_line(parser, argv)
    released, *others = wanted()
    rows = variants.measured() if options.missing else []
    there = {(row['table'], row['variant']) for row in rows}
    for row in costs(torch.device('cpu'), options.data_dir,
                     [released, *(one for one in others if one[:2] not in there)]):
        if (row['table'], row['variant']) not in there:
            rows.append(row)
            print(' | '.join(row.values()), flush=True)
    write_csv(options.to / variants.COSTS.name, rows)


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
