"""Time and memory of each stage, in its plain form (Benchmark/Plain.py) and in ours, in one run: python -m Benchmark

    --quick         TikTok's shapes only, without whole training steps and epochs: under a minute
    --stages NAME   these stages alone, whose rows are renewed in the table that is there
    --peers         other libraries instead, where they are installed: implicit (a sweep of iALS), RecBole (an epoch of
                    LightGCN, full ranking), each beside ours, as peers.csv and a table
    --ranks 1 2     the stages by one and by several processes of one thread instead, at five sizes and TikTok's, with
                    the costs fitted to them, as ranks.csv and the tables of docs/SCALING.md: about 5 minutes
    --published     an epoch of each published command instead, ours alone, as published_cost.csv and a table; with
                    --device cuda on that GPU, as published_gpu.csv
    --data_dir DIR  take TikTok's, Baby's and Sports' matrices from there; else random ones of the same size
    --to DIR        where the table and the picture go (default: results/figures/benchmark)
    --publish       renew figures/benchmark.csv and .png (or peers.csv, published_cost.csv, published_gpu.csv), and the
                    pages' table

Every form of every stage runs in a process of its own, forked before torch has done anything, so that its peak memory
is its own. Both forms start from the same seed and their results are compared. Features are stand-ins: two modalities
of 128 random columns. The limit is the stage's counted FLOP over this machine's measured matrix-product rate, and,
where that says little, the bytes it cannot avoid moving over the measured bandwidth. An epoch is composed: each stage's
time as often as an epoch needs it. Plain forms that would not fit into memory, or would take more than `PATIENCE`
seconds, are left out, as are the ratios to them. Without --quick and --stages, a picture shows how an epoch's cost
grows with users, items and d (benchmark.png, its points benchmark_growth.csv). Runs on the CPU, but for --published
--device cuda; needs Linux.
"""
import argparse
import multiprocessing
import resource
import sys
import time
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch._dynamo  # what the first optimiser imports: here once, and not in every process

from Benchmark.Epochs import rows_on
from Benchmark.Peers import WORK, peer_row
from Benchmark.Scaling import measure_ranks
from Benchmark.Stages import PUBLISHED, SHAPES, STAGES, Problem, epoch_counts, plain_needs, work
from Experiments.Estimates import in_words
from Experiments.Publish import add_place, settle_place
from Experiments.Tables import PAGES, read_csv, write_csv, write_markdown
from Params import Parser, number, parse
from Utils.Command import run_command
from Utils.Device import choose_device, keep_freed_memory
from Utils.Errors import InputError

COLUMNS = ('stage', 'shape', 'plain_s', 'ours_s', 'ratio', 'plain_mb', 'ours_mb', 'limit_s', 'over_limit',
           'max_rel_diff')
PATIENCE = 100
LONG = ('training_step_0', 'training_step_1', 'nce_torch')  # left out of --quick
NAME = 'Benchmark'


def in_process(function, *arguments):
    """Call it in a forked process; its result, or the exception it ended with."""
    context = multiprocessing.get_context('fork')
    ours, theirs = context.Pipe(duplex=False)

    def call():
        try:
            keep_freed_memory()
            theirs.send(function(*arguments))
        except Exception as error:
            theirs.send(error)

    process = context.Process(target=call)
    process.start()
    theirs.close()
    try:
        result = ours.recv()
    except EOFError:
        result = MemoryError('the process was ended from outside, most likely for its memory')
    process.join()
    if isinstance(result, Exception) and not isinstance(result, MemoryError):
        raise result
    return result


def measure(stage, shape, data_dir, plain):
    """One form of a stage: (best time, extra peak memory in MB, results as arrays). Ours is run three times or more,
    the plain form once."""
    run = STAGES[stage](Problem(shape, data_dir), plain)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    results = None
    while len(times) < (1 if plain else 3) or (not plain and sum(times) < 1 and len(times) < 20):
        start = time.perf_counter()
        now = run()
        times.append(time.perf_counter() - start)
        results = results or [tensor.double().numpy() for tensor in now]  # of the first: the steps go on training
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB; it never falls, hence a process for each form
    return min(times), (peak - before) * 1024 / 1e6, results


def machine_rates():
    """(FLOP/s of float32 matrix products, bytes/s of copying), the best of several tries and shapes."""
    def best(function):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)

    flops = []
    for n, k, m in ((2048, 2048, 2048), (1024, 6710, 1000), (6710, 1024, 1000)):
        a, b, out = torch.randn(n, k), torch.randn(k, m), torch.empty(n, m)
        flops.append(2 * n * k * m / best(lambda a=a, b=b, out=out: torch.mm(a, b, out=out)))
    source, target = torch.randn(2**25), torch.empty(2**25)
    return max(flops), 2 * 4 * 2**25 / best(lambda: target.copy_(source))


def relative_difference(plain, ours):
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)) for a, b in zip(plain, ours, strict=True))


def run_stage(stage, shape, settings, data_dir, rates, patience=PATIENCE):
    flop, moved = work(stage, shape, settings)
    limit = flop / rates[0] + moved / rates[1]
    memory, plain_flop = plain_needs(stage, shape, settings)
    seconds, megabytes, results = in_process(measure, stage, shape, data_dir, False)
    row = {'stage': stage, 'shape': shape.name, 'ours_s': seconds, 'ours_mb': megabytes, 'limit_s': limit,
           'over_limit': seconds / limit}
    if memory > available_memory():
        row['note'] = f'plain form: about {memory / 1e9:.0f} GB, more than there is'
    elif plain_flop / rates[0] > patience:
        row['note'] = f'plain form: about {plain_flop / rates[0]:.0f} s, left out'
    else:
        outcome = in_process(measure, stage, shape, data_dir, True)
        if isinstance(outcome, MemoryError):
            row['note'] = 'plain form: ran out of memory'
        else:
            plain_s, plain_mb, expected = outcome
            row |= {'plain_s': plain_s, 'plain_mb': plain_mb, 'ratio': plain_s / seconds,
                    'max_rel_diff': relative_difference(expected, results)}
    return row


def available_memory():
    with open('/proc/meminfo') as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith('MemAvailable'))


def epoch_row(rows, shape, settings, method):
    """An epoch composed of its stages; without the plain figure where a stage lacks it."""
    times = epoch_counts(shape, settings, method)
    stages = {row['stage']: row for row in rows if row['shape'] == shape.name}
    totals = {}
    for column in ('plain_s', 'ours_s', 'limit_s'):
        if all(column in stages[stage] for stage in times):
            totals[column] = sum(n * stages[stage][column] for stage, n in times.items())
    for column in ('plain_mb', 'ours_mb'):
        if all(column in stages[stage] for stage in times):
            totals[column] = max(stages[stage][column] for stage in times)
    row = {'stage': f'epoch, cl_method {method}', 'shape': shape.name, **totals,
           'over_limit': totals['ours_s'] / totals['limit_s']}
    if 'plain_s' in totals:
        row['ratio'] = totals['plain_s'] / totals['ours_s']
    return row


def growth(rates):
    """Seconds of an epoch as one of users, items and d grows, the others fixed: axis -> [(size, plain, ours)]."""
    base = replace(SHAPES['tiktok'], name='random', users=4000, items=3000, interactions=(24000, 1500, 3000), flags='')
    variants = {
        'users': [(n, replace(base, users=n, interactions=(6 * n, n // 3, n // 2))) for n in (2000, 4000, 8000, 16000)],
        'items': [(n, replace(base, items=n)) for n in (1500, 3000, 6000, 12000)],
        'd': [(n, replace(base, flags=f'--latdim {n}')) for n in (16, 64, 256)]}
    points = {}
    for axis, shapes in variants.items():
        points[axis] = []
        for size, shape in shapes:
            settings = parse(shape.flags.split())
            rows = [run_stage(stage, shape, settings, None, rates, patience=20)
                    for stage in epoch_counts(shape, settings, 1)]
            row = epoch_row(rows, shape, settings, 1)
            points[axis].append((size, row.get('plain_s'), row['ours_s']))
            print(f'growth: {axis} {size}: ' + ', '.join(f'{name} {row[name]:.3g}' for name in ('plain_s', 'ours_s')
                                                        if name in row), flush=True)
    return points


def draw_growth(points, path):
    figure, panels = plt.subplots(1, len(points), figsize=(10, 3.6), sharey=True)
    for panel, (axis, values) in zip(panels, points.items(), strict=True):
        for column, colour, marker, label in ((1, '#D55E00', 's', 'plain'), (2, '#0072B2', 'o', 'ours')):
            known = [value for value in values if value[column] is not None]
            panel.loglog([value[0] for value in known], [value[column] for value in known], color=colour,
                         marker=marker, label=label)
        panel.set_xticks([value[0] for value in values], [f'{value[0]:,}' for value in values])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
        panel.set_xlabel(axis)
    panels[0].set_ylabel('seconds per epoch')
    panels[0].legend()
    figure.suptitle('An epoch with cl_method 1; 4,000 users, 3,000 items, d = 64 where not on the axis')
    figure.tight_layout()
    figure.savefig(path, dpi=150, facecolor='white')


def keep_rows(path, rows):
    write_csv(path, [{key: f'{value:.4g}' if isinstance(value, float) else value for key, value in row.items()}
                     for row in rows], COLUMNS)


def renewed(path, rows):
    """The rows of the table at path, if there is one, with these added or in place of their own, by shape and stage."""
    old = ({key: value if key in ('stage', 'shape') else float(value) for key, value in row.items() if value}
           for row in (read_csv(path) if path.is_file() else ()))
    there = {(row['shape'], row['stage']): row for row in (*old, *rows)}
    shapes, stages = [*SHAPES], [*STAGES]
    return [there[key] for key in sorted(there, key=lambda key: (
        shapes.index(key[0]), stages.index(key[1]) if key[1] in STAGES else len(stages)))]


def show(row):
    cells = ''.join(f'{format_cell(column, row.get(column)):>13}' for column in COLUMNS[2:])
    print(f'{row["stage"]:20}{row["shape"]:8}{cells}  {row.get("note", "")}'.rstrip(), flush=True)


def format_cell(column, value):
    if value is None:
        return '-'
    if column.endswith('_mb'):
        return f'{value:,.0f}'
    return f'{value:.1e}' if column == 'max_rel_diff' else f'{value:.3g}'


def compare_with_peers(options):
    """The table of other libraries' times beside ours."""
    print(f'torch {torch.__version__}, {torch.get_num_threads()} threads; ratio: times as long as ours')
    print(f'{"work":16}{"shape":8}{"peer":18}' + ''.join(f'{name:>10}' for name in ('peer_s', 'ours_s', 'ratio')))
    rows = []
    for shape in list(SHAPES.values())[:1 if options.quick else None]:
        for name in WORK:
            row = peer_row(name, shape, options.data_dir, in_process)
            rows.append({'work': row['work'], 'shape': row['shape'], 'peer': row['peer'],
                         **{column: format_cell(column, row.get(column)) for column in ('peer_s', 'ours_s', 'ratio')},
                         'note': row.get('note', '')})
            work, place, peer, *cells, note = rows[-1].values()
            print(f'{work:16}{place:8}{peer:18}' + ''.join(f'{cell:>10}' for cell in cells) + f'  {note}'.rstrip(),
                  flush=True)
    keep_table('peers', rows, options)


def cost_of_published(options):
    """An epoch of each published command, composed of its stages, and the most memory that one of them takes."""
    device = choose_device(options.device)
    if device.type == 'cuda':
        rows = []
        for row in rows_on(device, options.data_dir):
            rows.append(row)
            show_cells(row)
        keep_table('published_gpu', rows, options)
        return
    rates = in_process(machine_rates)
    rows = []
    for shape, method in PUBLISHED:
        settings = parse(shape.flags.split())
        stages = [run_stage(stage, shape, settings, options.data_dir, rates, patience=0)
                  for stage in epoch_counts(shape, settings, method)]
        epoch = epoch_row(stages, shape, settings, method)
        rows.append({'data set': shape.name, 'd': settings.latdim, 'cl_method': method,
                     'an epoch': in_words(epoch['ours_s']), '50 epochs': in_words(50 * epoch['ours_s']),
                     'memory': f'{epoch["ours_mb"] / 1000:.1f} GB'})
        show_cells(rows[-1])
    keep_table('published_cost', rows, options)


def show_cells(row):
    print(' | '.join(map(str, row.values())), flush=True)


def keep_table(name, rows, options):
    write_csv(options.to / f'{name}.csv', rows)
    write_markdown(name, rows, options.to, PAGES if options.publish else ())
    print(f'written: {options.to / name}.csv')


def command_line():
    parser = Parser(prog=f'python -m {NAME}', description=__doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help="TikTok's shapes, no training steps and epochs")
    parser.add_argument('--stages', nargs='+', choices=STAGES, metavar='NAME', default=(),
                        help='these alone, in the table that is there: ' + ', '.join(STAGES))
    parser.add_argument('--peers', action='store_true', help='measure other libraries where they are installed')
    parser.add_argument('--published', action='store_true', help='an epoch of each published command, ours alone')
    parser.add_argument('--ranks', nargs='+', type=number(int, 1), metavar='N',
                        help='by so many processes, which share the work')
    parser.add_argument('--device', default='cpu', metavar='DEVICE',
                        help='with --published: cuda or cuda:N measures on that GPU (default: %(default)s)')
    parser.add_argument('--data_dir', help='take the matrices from the data set folders below this one')
    parser.add_argument('--csv', help=argparse.SUPPRESS)
    add_place(parser, 'benchmark')
    return parser


def main(argv=None):
    parser = command_line()
    options = parser.parse_args(argv)
    if options.csv:
        raise InputError('--csv is now --to DIR: the folder for benchmark.csv and all else that is written.')
    if options.device != 'cpu' and not options.published:
        raise InputError('--device is for --published: everything else is measured on the CPU.')
    settle_place(parser, options, 'benchmark')
    if options.peers:
        compare_with_peers(options)
        return
    if options.ranks:
        measure_ranks(options)
        return
    if options.published:
        cost_of_published(options)
        return
    path, partial = options.to / 'benchmark.csv', options.to / 'benchmark.partial.csv'
    rates = in_process(machine_rates)
    print(f'torch {torch.__version__}, {torch.get_num_threads()} threads: {rates[0] / 1e9:.0f} GFLOP/s in float32 '
          f'matrix products, {rates[1] / 1e9:.1f} GB/s copying')
    print(f'{"stage":20}{"shape":8}' + ''.join(f'{column:>13}' for column in COLUMNS[2:]))
    rows = []

    def keep(row):
        show(row)
        rows.append(row)
        keep_rows(partial, rows)  # whole at each row: a run of half an hour that is stopped leaves what it has measured

    for shape in list(SHAPES.values())[:1 if options.quick else None]:
        settings = parse(shape.flags.split())
        for stage in options.stages or STAGES:
            if not (options.quick and stage in LONG):
                keep(run_stage(stage, shape, settings, options.data_dir, rates))
        for method in () if options.quick or options.stages else (0, 1):
            keep(epoch_row(rows, shape, settings, method))
    if options.stages:
        rows = renewed(path, rows)
        keep_rows(partial, rows)
    partial.replace(path)
    write_markdown('benchmark', [{column: row.get(column) if column in ('stage', 'shape') else
                                  format_cell(column, row.get(column)) for column in COLUMNS} for row in rows],
                   options.to, PAGES if options.publish else ())
    print(f'written: {path}')
    if not (options.quick or options.stages):
        points = growth(rates)
        write_csv(options.to / 'benchmark_growth.csv', [{'axis': axis, 'size': size, 'plain_s': plain, 'ours_s': ours}
                                              for axis, values in points.items() for size, plain, ours in values])
        draw_growth(points, options.to / 'benchmark.png')
        print(f'written: {options.to / "benchmark.png"}')


if __name__ == '__main__':
    sys.exit(run_command(f'python -m {NAME}', main))
