"""`python -m Benchmark --ranks`: the tables of docs/SCALING.md, from measurements by Benchmark/Ranks.py."""
import math

from Benchmark.Ranks import SIZES, STAGES, TIKTOK, Size, by_fit, epoch_counts, fit, measure_all, tables, work
from Experiments.Tables import ROOT, write_csv, write_markdown
from Utils.Utils import noise_levels

PAGE = ROOT / 'docs' / 'SCALING.md'
RATE = 1e14  # FLOP/s that a GPU is taken to reach in float32 products by TF32: assumed, not measured
NAMES = {'denoiser_step': 'denoisers, a step', 'graphs': 'graphs, an epoch', 'training_step_0': 'step, `cl_method 0`',
         'training_step_1': 'step, `cl_method 1`', 'evaluation': 'evaluation'}
CARRIED = (TIKTOK, Size('1 million users, 100,000 items', 10**6, 10**5, 2 * 10**7, 64),
           Size('10 million users, 1 million items', 10**7, 10**6, 2 * 10**8, 64),
           Size('100 million users, 10 million items', 10**8, 10**7, 2 * 10**9, 64))


def measure_ranks(options):
    """Measure, fit, and write the tables."""
    def say(rows):
        print(f'{rows[0]["size"].name:12}{rows[0]["ranks"]} processes: '
              + ', '.join(f'{row["stage"]} {row["seconds"]:.3g} s {row["mb"]:.0f} MB' for row in rows), flush=True)

    rows = measure_all([*SIZES.values(), TIKTOK], options.ranks, say)
    fitted = [row for row in rows if row['size'] is not TIKTOK]  # what the fit says of TikTok shows what it is worth
    seconds, memory = fit(fitted, 'seconds', work), fit(fitted, 'mb', tables)
    for row in rows:
        size, stage, ranks = row['size'], row['stage'], row['ranks']
        row |= {'fit_seconds': by_fit(seconds, work(stage, size, ranks), stage),
                'fit_mb': by_fit(memory, tables(stage, size, ranks), stage)}
    pages = (PAGE,) if options.publish else ()
    write_csv(options.to / 'ranks.csv', [{**vars(row['size']), **{name: f'{value:.4g}' if isinstance(value, float)
                                                                 else value for name, value in row.items()
                                                                 if name != 'size'}} for row in rows])
    write_markdown('ranks', list(by_stage(rows, options.ranks)), options.to, pages)
    write_markdown('ranks_epoch', list(epochs(rows, options.ranks)), options.to, pages)
    write_markdown('ranks_costs', [
        {'stage': NAMES[stage], **{name: ', '.join(f'{term} {cost * factor:.2g}' for term, cost in costs[stage].items())
                                   for name, costs, factor in (('time: ns per count', seconds, 1e9),
                                                               ('memory: bytes per entry', memory, 1e6))}}
        for stage in STAGES], options.to, pages)
    write_markdown('ranks_carried', [carried(size) for size in CARRIED], options.to, pages)
    print(f'written: {options.to / "ranks.csv"}')


def by_stage(rows, ranks):
    """A row for every stage and size: seconds by number of processes, and MB of a process."""
    for stage in STAGES:
        for size in dict.fromkeys(row['size'] for row in rows):
            mine = {row['ranks']: row for row in rows if (row['stage'], row['size']) == (stage, size)}
            first, last = mine[ranks[0]], mine[ranks[-1]]
            yield {'stage': NAMES[stage], 'size': size.name,
                   **{f's, {number} process{"es" * (number > 1)}': f'{mine[number]["seconds"]:.3g}'
                      for number in ranks},
                   'times as fast': f'{first["seconds"] / last["seconds"]:.2f}',
                   'fit, s': ', '.join(f'{mine[number]["fit_seconds"]:.3g}' for number in ranks),
                   **{f'MB, {number}': f'{mine[number]["mb"]:.0f}' for number in ranks}}


def epochs(rows, ranks):
    """An epoch of each size, composed of its stages."""
    for size in dict.fromkeys(row['size'] for row in rows):
        for method in (0, 1):
            spent = {number: sum(times * next(row['seconds'] for row in rows if row['stage'] == stage
                                              and row['size'] == size and row['ranks'] == number)
                                 for stage, times in epoch_counts(size, method).items()) for number in ranks}
            yield {'size': size.name, 'users': f'{size.users:,}', 'items': f'{size.items:,}', 'd': size.d,
                   'modalities': size.modalities, '`cl_method`': method,
                   **{f's, {number} process{"es" * (number > 1)}': f'{spent[number]:.1f}' for number in ranks},
                   'times as fast': f'{spent[ranks[0]] / spent[ranks[-1]]:.2f}'}


def flop(size):
    """FLOP of an epoch by what they are spent on, a multiply-add counting as 2."""
    levels = sum(1 for level in noise_levels(size.diffusion_steps) if level)
    cells, pairs = size.users * size.items, size.modalities * (size.modalities - 1) / 2
    steps = math.ceil(size.interactions / size.batch)
    return {'denoisers': 10 * size.modalities * cells * size.width, 'graphs': 2 * size.modalities * cells * size.width,
            'contrast 0': 6 * pairs * size.interactions * (size.users + size.items) * size.d,
            'contrast 1': size.modalities * steps * size.d * (6 * size.users**2 + (9 + 4 * levels) * size.items**2),
            'evaluation': 2 * cells * size.d * (size.modalities + 1)}


def held(size):
    """Bytes of a process by what they are."""
    nodes = size.users + size.items
    return {'denoisers': 4 * 4 * 2 * size.modalities * size.items * size.width,  # weights, gradients, Adam's two
            'a batch': 4 * 5 * size.batch * size.items,  # noise, the denoiser's input, output and their gradients
            'embeddings': 4 * 4 * nodes * size.d, 'outputs': 4 * 10 * (size.modalities + 1) * nodes * size.d,
            'interactions': 120 * size.interactions}


def carried(size):
    return {'': size.name, **{f'{name}, GPU h': in_figures(value / RATE / 3600) for name, value in flop(size).items()},
            **{f'{name}, GB': in_figures(value / 1e9) for name, value in held(size).items()}}


def in_figures(value):
    """Two figures: 0.0012, 3.4, 560."""
    digits = max(0, 1 - math.floor(math.log10(value))) if value else 0
    return f'{round(value, 1 - math.floor(math.log10(value))):,.{digits}f}' if value else '0'
