"""What can be remade, by which command, and what it took: python figures/overview.py

A row per table or picture: its command, the time of its saved runs (the sum of their seconds, those that a sweep copied
once), and how many there are. Writes overview.csv and overview.md, the README's table.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from Experiments.Estimates import in_words
from Experiments.SavedRuns import read_run
from figures.runs import command_line, read_command_line, write_tables
from Utils.Command import run_command

NAME = 'overview'
RESULTS = Path('results')
# what one wants, its command, the folders of its runs below results/ (none: it makes do with those of others), and how
# far the committed runs go
TASKS = (
    ('Table I: the data sets', 'figures/dataset.py --data_dir DIR', (), 'all three'),
    ('Table II: published results and ours', 'figures/performance.py',
     ('*/baselines', 'tiktok/mdmns', 'tiktok/cl0-d64', 'tiktok/ablation/full', 'tiktok/ablation/cross-modal'),
     'TikTok; Baby: models without features; Sports: with brand and category in part'),
    ('Ablation study', 'figures/ablation.py', ('tiktok/ablation',), 'TikTok'),
    ('Hyper-parameter sensitivity', 'figures/sensitivity.py', ('tiktok/sensitivity',), 'TikTok'),
    ('Statistical significance', 'figures/significance.py', (), 'all three'),
    ('Cold start: groups of users and items', 'figures/groups.py --data_dir DIR', (), 'TikTok'),
    ('Training curves, the released program beside ours', 'figures/curves.py',
     ('tiktok/cl0-d64', 'tiktok/ablation/full'), 'TikTok'),
    ('What `--cl_sample` and `--precision` change', 'figures/approximations.py',
     ('tiktok/cl1-d64', 'tiktok/cl1-d64-sample1024', 'tiktok/precision'), 'TikTok'),
    ('Beyond the release: each flag', 'figures/variants.py', ('tiktok/variants',), 'TikTok'),
    ('Beyond the release: what each flag costs', 'figures/costs.py --data_dir DIR', (), "TikTok's size, on a CPU"),
    ('Beyond the release: searches of one size', 'figures/search.py', ('*/search',), 'TikTok; Sports in part'),
    ('Beyond the release: what earns its place', 'figures/parts.py', ('tiktok/parts',), 'TikTok'),
    ('Benchmark: every stage beside its plain form', '-m Benchmark --data_dir DIR', (), 'all three shapes, on a CPU'))


def row_of(want, command, folders, status):
    results = {path.read_bytes(): path.parent for folder in folders
               for path in sorted(RESULTS.glob(f'{folder}/**/result.json'))}  # a copy has the same
    runs = [run for path in results.values() if (run := read_run(path))]
    time = f'{len(runs)} runs, {in_words(sum(run.result["seconds"] for run in runs))}' if runs else 'not yet run'
    return {'what you want': want, 'command': f'`python {command}`', 'time': time if folders else 'no runs of its own',
            'status': status}


def main(argv=None):
    options, _ = read_command_line(command_line(NAME, __doc__, data=False), argv)
    write_tables(NAME, [row_of(*task) for task in TASKS], options)


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
