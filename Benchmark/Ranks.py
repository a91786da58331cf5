"""What the stages of an epoch of MDMNS cost by size and by processes that share them, measured and fitted.

`measure_all` starts the processes by torchrun, each with one thread: `python -m torch.distributed.run ... -m
Benchmark.Ranks SIZE`. A stage's time, and the memory that it takes besides what is there before, are fitted as sums of
terms, each a count of what the stage does or holds times a cost that is not negative: what is shared is divided by the
number of processes, the rest is not.
"""
import json
import math
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.distributed as dist
from scipy.optimize import nnls

from Benchmark.Stages import SHAPES, Shape, matrices_of
from DataHandler import Dataset, NegativeSampler
from Experiments.Tables import ROOT
from Model import MDMNS
from Params import parse
from Utils.Adam import Adam
from Utils.Device import keep_freed_memory, release_freed_memory
from Utils.Metrics import evaluate
from Utils.Ranks import add_up_gradients
from Utils.Utils import noise_levels

STAGES = ('denoiser_step', 'graphs', 'training_step_0', 'training_step_1', 'evaluation')


@dataclass(frozen=True)
class Size:
    """A data set's size, its modalities (of 128 columns each) and the width of the embeddings."""

    name: str
    users: int
    items: int
    interactions: int  # training; as many again are withheld, a tenth each for validation and test
    d: int
    modalities: int = 2
    batch: int = 1024
    width: int = 1000  # of the denoisers' hidden layer
    diffusion_steps: int = 5


BASE = Size('base', 4000, 3000, 24000, 64)
SIZES = {size.name: size for size in (
    BASE, replace(BASE, name='users', users=12000, interactions=72000), replace(BASE, name='items', items=9000),
    replace(BASE, name='d', d=256), replace(BASE, name='modalities', modalities=4))}
TIKTOK = Size('tiktok', *(getattr(SHAPES['tiktok'], side) for side in ('users', 'items')),
              SHAPES['tiktok'].interactions[0], 64)


def work(stage, size, ranks):
    """What a stage does, by name; each with a number of seconds per count that is to be found."""
    n = size
    whole = n.modalities % ranks == 0  # every process has denoisers of its own
    rows, nodes, pairs = min(n.batch, n.users), n.users + n.items, n.modalities * (n.modalities - 1) / 2
    levels = [level for level in noise_levels(n.diffusion_steps) if level]
    shared = {
        'denoiser_step': n.modalities * rows * n.items * n.width,
        'graphs': n.modalities * n.items * n.width * (n.users + n.width),
        'training_step_0': pairs * rows * nodes * n.d,
        'training_step_1': n.modalities * n.d * (n.users**2 + n.items**2 * (1 + len(levels) * 2 / 3 + 1 / 2)),
        'evaluation': n.users * n.items * n.d * (n.modalities + 1)}[stage]
    alone = {
        'denoiser_step': {'weights: Adam': n.modalities * n.items * n.width / (ranks if whole else 1),
                          'draws': n.modalities * rows * n.items}, 'graphs': {},
        'training_step_0': {'network': (n.interactions + nodes) * n.d * n.modalities},
        'training_step_1': {'network': (n.interactions + nodes) * n.d * (n.modalities + 1)},
        'evaluation': {'ranking': n.users * n.items / ranks,
                       'network': (n.interactions + nodes) * n.d * (n.modalities + 1)}}[stage]
    sent = {'denoiser_step': n.modalities * n.items * n.width * (not whole), 'training_step_0': nodes * n.d,
            'training_step_1': nodes * n.d}
    return {'shared': shared / ranks, **alone,
            **({'gradients sent': sent[stage] * (ranks > 1)} if stage in sent else {})}


def tables(stage, size, ranks):
    """The entries of what a stage holds, by name; each with a number of bytes per entry that is to be found."""
    n = size
    rows, nodes = min(n.batch, n.users), n.users + n.items
    each = 1 if n.modalities % ranks == 0 else ranks  # processes that a denoiser's rows are shared by
    return {'denoiser_step': {'rows of the batch': rows * n.items, 'own rows': rows * n.items / each,
                              'weights': n.items * n.width},
            'graphs': {'own rows': rows * n.items / ranks, 'weights': n.width**2},
            'training_step_0': {'outputs': n.modalities * nodes * n.d, 'similarities': 1},
            'training_step_1': {'outputs': (n.modalities + 1) * nodes * n.d, 'similarities': 1},
            'evaluation': {'outputs': (n.modalities + 1) * nodes * n.d, 'scores': 256 * n.items}}[stage]


def fit(rows, column, counts_of):
    """stage -> {term: cost per count}, of rows with stage, size (a Size), ranks and that column, by least squares of
    the relative errors; counts_of: `work` or `tables`."""
    costs = {}
    for stage in STAGES:
        mine = [row for row in rows if row['stage'] == stage]
        counts = [counts_of(stage, row['size'], row['ranks']) for row in mine]
        table = np.array([[count[name] / row[column] for name in counts[0]]
                          for count, row in zip(counts, mine, strict=True)])
        scale = table.max(0)
        scale[scale == 0] = 1  # nothing is sent where there is one process
        found, _ = nnls(table / scale, np.ones(len(table)))
        costs[stage] = dict(zip(counts[0], found / scale, strict=True))
    return costs


def by_fit(costs, counts, stage):
    return sum(costs[stage][name] * count for name, count in counts.items())


def epoch_counts(size, method):
    """How often an epoch needs each stage."""
    return {'denoiser_step': math.ceil(size.users / size.batch), 'graphs': 1, 'evaluation': 1,
            f'training_step_{method}': math.ceil(size.interactions / size.batch)}


def measure_all(sizes, ranks, say):
    """A row for every stage, size and number of processes: seconds, and the MB that a process takes for it."""
    rows = []
    for size in sizes:
        for number in ranks:
            said = subprocess.run(
                [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(number), '-m',
                 'Benchmark.Ranks', json.dumps(vars(size))], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
                env={**os.environ, 'OMP_NUM_THREADS': '1'})
            found = json.loads(said.stdout.splitlines()[-1])
            some = [{'stage': stage, 'size': size, 'ranks': number, 'seconds': found[stage][0], 'mb': found[stage][1]}
                    for stage in STAGES]
            rows += some
            say(some)
    return rows


def measured(size):
    """(seconds, MB) of each stage."""
    rng = np.random.default_rng(0)
    shape = Shape(size.name, size.users, size.items, (size.interactions, size.interactions // 10,
                                                      size.interactions // 10), '')
    splits = matrices_of(shape, None, rng)
    features = {f'modality{number}': rng.normal(size=(size.items, 128)).astype(np.float32)
                for number in range(size.modalities)}
    found = {}
    for method in (0, 1):
        settings = parse(f'--latdim {size.d} --cl_method {method} --batch {size.batch} --dims {size.width} '
                         f'--steps {size.diffusion_steps}'.split())
        model = MDMNS(Dataset(size.name, features=features, **splits), settings, torch.Generator().manual_seed(0))
        optimiser = Adam(model.loop_parameters(), settings.lr, fused=True)
        users = torch.arange(size.users)
        with torch.no_grad():
            projected = model.project()
        train, sampler = model.rows, NegativeSampler(model.rows)
        model.rebuild_graphs()

        def denoiser_step(model=model, users=users[:size.batch], projected=projected):
            for name, guide in model.guides(projected).items():
                model.train_denoiser(name, users, projected[name], guide)

        def graphs(model=model, users=users):
            model.sampled_tops(users.split(size.batch), 1)

        def training_step(model=model, sampler=sampler, optimiser=optimiser):
            n = min(size.batch, len(sampler))
            loss = sum(model.losses(sampler.users[:n], sampler.positives[:n], sampler.positives[-n:]).values())
            optimiser.zero_grad()
            loss.backward()
            add_up_gradients(model.loop_parameters())
            optimiser.step()

        def evaluation(model=model, train=train, settings=settings):
            withheld = {'test': SimpleNamespace(counts=torch.ones_like(train.counts), hold=train.hold)}
            evaluate(model.scores(), train, withheld, settings.topk, settings.tstBat)

        found[f'training_step_{method}'] = best(training_step)
        if method == 0:
            found |= {'denoiser_step': best(denoiser_step), 'graphs': best(graphs), 'evaluation': best(evaluation)}
    return found


def best(function, least=3, enough=2.0):
    """(the shortest time in which all processes have done it, the MB by which this one grew at the first time)."""
    release_freed_memory(torch.device('cpu'), math.inf)
    with suppress(OSError):
        Path('/proc/self/clear_refs').write_text('5')  # the most memory so far is forgotten
    before = memory('VmRSS')
    function()
    grown, times = memory('VmHWM') - before, []
    while len(times) < least or (sum(times) < enough and len(times) < 10):
        dist.barrier()
        start = time.perf_counter()
        function()
        dist.barrier()
        spent = torch.tensor(time.perf_counter() - start)
        dist.all_reduce(spent, dist.ReduceOp.MAX)
        times.append(float(spent))
    return min(times), max(grown, 0.1)


def memory(name):
    """MB of this process, as Linux has it."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f'{name}:')) * 1024 / 1e6


def main():
    keep_freed_memory()
    dist.init_process_group('gloo')
    torch.manual_seed(0)
    found = measured(Size(**json.loads(sys.argv[1])))
    if dist.get_rank() == 0:
        print(json.dumps(found))
    dist.destroy_process_group()


if __name__ == '__main__':
    main()
