"""Table I: the data sets as they are, beside the published figures: python figures/dataset.py [--data_dir DIR]

Writes dataset.csv and dataset.md, and dataset.png: how interactions spread over users and items. A data set without a
folder is left out; Datasets/README.md says where the files come from.
"""
import sys
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from DataHandler import SPLITS, load_dataset
from Datasets.check import split_facts, table_one
from Experiments.Tables import FIGURES, read_csv
from figures.runs import command_line, read_command_line, write_tables
from figures.style import COLOURS, save
from Utils.Command import run_command
from Utils.Errors import InputError
from Utils.TimeLogger import log

NAME = 'dataset'


def explained(published, counts):
    """Which of the splits add up to the published number of interactions."""
    for size in range(1, len(SPLITS) + 1):
        for names in combinations(SPLITS, size):
            if sum(counts[name] for name in names) == published:
                return ' + '.join(names)
    return 'no sum of the splits'


def rows_of(published, data):
    splits = {name: getattr(data, name) for name in SPLITS}
    table, facts = table_one(splits), split_facts(splits)
    return {
        'data set': published['dataset'],
        'users (published)': f'{table["users"]:,} ({int(published["users"]):,})',
        'items (published)': f'{table["items"]:,} ({int(published["items"]):,})',
        **{name: f'{table[name]:,}' for name in SPLITS},
        'together': f'{table["together"]:,}',
        'published interactions': f'{int(published["interactions"]):,}',
        'which are': explained(int(published['interactions']), table),
        'sparsity % (published)': f'{table["sparsity_percent"]} ({published["sparsity_percent"]})',
        'most test items of a user': facts['most_test_items_of_a_user'],
        'test interactions with items unseen in training':
            f'{100 * facts["test_interactions_with_unseen_items"] / table["test"]:.1f} %',
        'modalities here (published)': f'{", ".join(data.modalities) or "none"} ({published["modalities"]})'}


def draw(found, path):
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True)
    for panel, axis, of in zip(panels, (1, 0), ('user', 'item'), strict=True):
        for colour, (name, data) in zip(COLOURS, found.items(), strict=False):
            counts = np.sort(np.asarray(data.train.sum(axis)).ravel())[::-1]
            panel.loglog(np.arange(1, len(counts) + 1), np.maximum(counts, 0.5), color=colour, label=name)
        panel.set(xlabel=f'{of}s, the busiest first')
    panels[0].set_ylabel('training interactions')
    panels[0].legend()
    figure.tight_layout()
    save(figure, path)


def main(argv=None):
    options, _ = read_command_line(command_line(NAME, __doc__), argv)
    data_dir = Path(options.data_dir)
    published = read_csv(FIGURES / 'published_table1.csv')
    absent = [row['folder'] for row in published if not (data_dir / row['folder']).is_dir()]
    where = 'Datasets/README.md says where they come from; give their folder with --data_dir'
    if len(absent) == len(published):
        raise InputError(f'{data_dir} holds none of the published data sets: {where}.')
    if absent and options.publish:
        raise InputError(f'{data_dir} has no {" and no ".join(absent)}, which the published table has: {where}, or '
                         'leave out --publish.')
    if absent:
        log(f'left out: {", ".join(absent)}, not in {data_dir}. {where}.')
    published = [row for row in published if row['folder'] not in absent]
    found = {row['dataset']: load_dataset(data_dir, row['folder']) for row in published}
    write_tables(NAME, [rows_of(row, found[row['dataset']]) for row in published], options)
    draw(found, options.to / f'{NAME}.png')


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
