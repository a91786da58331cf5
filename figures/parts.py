"""What each part of MDMNS brings to the setting that its search chose: python figures/parts.py

    --run --data_dir DIR [--seeds S ...]    make the runs that are missing

The chosen setting (figures/search.py) with one part changed, in results/<data>/parts/<part>; parts.csv and .md have a
row for each that has runs and for the chosen setting, with the columns of figures/variants.py. Without the modal graphs
means what it means in figures/ablation.py.
"""
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Experiments.Jobs import Job, settings_by
from Experiments.SavedRuns import find_runs, told
from figures.runs import chosen as named, command_line, none_there, provide, read_command_line, write_tables
from figures.search import NAME as SEARCH, REFERENCE
from figures.variants import beside, costs, row
from Utils.Command import run_command

NAME, CHOSEN = 'parts', 'chosen'
ROOT = Path('results/tiktok/parts')
# folder -> (what it is about, flags on top of the chosen setting's)
PARTS = {
    'bpr': ('loss', '--loss bpr'),
    'fused-released': ('fused', '--fused released'),
    'fused-joint': ('fused', '--fused joint'),
    'fused-trained': ('fused', '--fused trained'),
    'fused-scored': ('fused', '--fused trained --score fused'),  # as the paper's figure has it
    'items-none': ('item graphs', '--item_lambda 0'),
    'items': ('item graphs', '--item_lambda 0.3'),
    'no-modal-graphs': ('modal graphs', '--ris_adj_lambda 0'),
    'no-diffusion': ('modal graphs', '--ris_adj_lambda 0 --ssl_reg 0'),  # the cross-modal contrast sees them, too
    'rebuilt-released': ('modal graphs', '--rebuild_from all --rebuild_k 1 --rebuild_weights equal'),
    'rebuilt-noised': ('modal graphs', '--sampling_steps 5'),
    'guidance-none': ('guidance', '--guidance none'),
    'guidance-learned': ('guidance', '--guidance learned'),
    'guidance-profile': ('guidance', '--guidance profile'),
    'no-contrast': ('contrast', '--ssl_reg 0'),
    'multi-level': ('contrast', '--cl_method 1 --cl_sample 1024'),
    'wide-denoisers': ('denoisers', '--dims 1000')}


def place_of(root):
    """The search whose chosen setting these are the parts of; root: folder of the parts' runs."""
    return root.parent / SEARCH / REFERENCE


def settings_with(like, flags):
    return {name: value for name, value in told(asdict(settings_by(('--like', str(like), *shlex.split(flags))))).items()
            if name not in ('seed', 'out', 'like')}


def main(argv=None):
    options, flags = read_command_line(command_line(NAME, __doc__, ROOT), argv)
    place = place_of(options.root)
    reference = find_runs(place, 'chosen')
    if not reference:
        raise none_there(SEARCH, place / 'chosen')
    like = reference[0].folder
    plain = settings_with(like, '')
    declared = {name: part for name, part in PARTS.items() if settings_with(like, part[1]) != plain}
    provide([Job(options.root / name / f'seed{seed}', ('--like', str(like), *shlex.split(declared[name][1]), *flags,
                                                       '--seed', str(seed), '--data_dir', options.data_dir))
             for name in named(list(declared), options.variants, 'variants') for seed in options.seeds],
            NAME, options, flags)
    found = {CHOSEN: reference, **{name: runs for name in declared if (runs := find_runs(options.root, name))}}
    results, cost, rows = beside(found, CHOSEN), costs(NAME), {CHOSEN: (CHOSEN, ''), **declared}
    write_tables(NAME, [row(rows[name][0], name, rows[name][1], runs, reference, results.get(name), cost.get(name),
                            CHOSEN) for name, runs in found.items()], options)


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
