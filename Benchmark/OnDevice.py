"""An epoch of each published command on a GPU: `python -m Benchmark --published --device cuda`.

Whole epochs are trained and evaluated, not composed of stages: there they take seconds. Stand-in features as everywhere
in the benchmark.
"""
import time

import torch

from Benchmark.Stages import PUBLISHED, stand_in
from DataHandler import Dataset, UserRows
from Experiments.Estimates import in_words
from Model import MDMNS
from Params import parse
from Runs.Training import Training
from Utils.Device import set_precision
from Utils.Metrics import evaluate

EPOCHS = 2  # the first also warms up


def epoch_on(device, shape, method, data_dir):
    """(seconds of the fastest epoch with its evaluation, most memory in bytes, width) of one published command."""
    settings = parse([*shape.flags.split(), '--cl_method', str(method)])
    set_precision(settings.precision, device)
    matrices, features = stand_in(shape, data_dir)
    dataset = Dataset(shape.name, features=features, **matrices)
    rows = UserRows(dataset.train, device)
    torch.cuda.reset_peak_memory_stats(device)  # once something is there: before, CUDA has not begun
    withheld = {'val': UserRows(dataset.val, device), 'test': UserRows(dataset.test, device)}
    training = Training(MDMNS, settings, dataset, rows)
    times = []
    for _ in range(EPOCHS):
        start = time.perf_counter()
        training.train_epoch(lambda: None)
        evaluate(training.model.scores(), rows, withheld, settings.topk, settings.tstBat)
        torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times), torch.cuda.max_memory_allocated(device), settings.latdim


def rows_on(device, data_dir):
    """A row of the table per published command."""
    for shape, method in PUBLISHED:
        seconds, memory, width = epoch_on(device, shape, method, data_dir)
        yield {'data set': shape.name, 'd': width, 'cl_method': method, 'GPU': torch.cuda.get_device_name(device),
               'an epoch': f'{seconds:.1f} s', '50 epochs': in_words(50 * seconds), 'memory': f'{memory / 1e9:.1f} GB'}
