"""Whole epochs, trained and evaluated: of each published command on a GPU (`python -m Benchmark --published --device
cuda`), and of variants beside the released setting (`python figures/costs.py`).

Not composed of stages as elsewhere in the benchmark: on a GPU they take seconds, and no stage says what a flag costs.
Stand-in features as everywhere here.
"""
import time
from statistics import mean

import torch

from Benchmark.Stages import PUBLISHED, SHAPES, stand_in
from DataHandler import Dataset, UserRows
from Experiments.Estimates import in_words
from Model import MDMNS
from Params import parse
from Runs.Training import Training
from Utils.Device import set_precision
from Utils.Metrics import evaluate

TOGETHER = 4  # variants between two epochs of the released setting


class Epochs:
    """A model in training; each call is an epoch with its evaluation, and gives its seconds."""

    def __init__(self, shape, settings, device, data_dir):
        set_precision(settings.precision, device)
        matrices, features = stand_in(shape, data_dir)
        dataset = Dataset(shape.name, features=features, **matrices)
        self.device, self.rows = device, UserRows(dataset.train, device)
        self.withheld = {'val': UserRows(dataset.val, device), 'test': UserRows(dataset.test, device)}
        if device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(device)  # once something is there: before, CUDA has not begun
        self.training = Training(MDMNS, settings, dataset, self.rows)

    def __call__(self):
        settings, start = self.training.settings, time.perf_counter()
        self.training.train_epoch(lambda: None)
        evaluate(self.training.model.scores(), self.rows, self.withheld, settings.topk, settings.tstBat)
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - start


def epoch_on(device, shape, method, data_dir):
    """(seconds of the faster of two epochs, most memory in bytes, width) of one published command. The first epoch also
    warms up."""
    settings = parse([*shape.flags.split(), '--cl_method', str(method)])
    epoch = Epochs(shape, settings, device, data_dir)
    return min(epoch(), epoch()), torch.cuda.max_memory_allocated(device), settings.latdim


def rows_on(device, data_dir):
    """A row of the table per published command."""
    for shape, method in PUBLISHED:
        seconds, memory, width = epoch_on(device, shape, method, data_dir)
        yield {'data set': shape.name, 'd': width, 'cl_method': method, 'GPU': torch.cuda.get_device_name(device),
               'an epoch': f'{seconds:.1f} s', '50 epochs': in_words(50 * seconds), 'memory': f'{memory / 1e9:.1f} GB'}


def costs(device, data_dir, wanted, shape=SHAPES['tiktok']):
    """A row per variant: seconds of an epoch, and as a multiple of the mean of an epoch of the released setting before
    and one after some of them, since a machine that others use too is not always as fast.

    wanted: [(table, name, settings)], the released setting first.
    """
    released = Epochs(shape, wanted[0][2], device, data_dir)
    released()  # warms up
    before = released()
    for start in range(0, len(wanted), TOGETHER):
        times = [Epochs(shape, settings, device, data_dir)() for _, _, settings in wanted[start:start + TOGETHER]]
        after = released()
        for (table, name, _), seconds in zip(wanted[start:], times, strict=False):
            yield {'table': table, 'variant': name, 'an epoch': f'{seconds:.2f} s',
                   'times the released': f'{seconds / mean((before, after)):.2f}'}
        before = after
