"""What a run says of itself in the log: its data set, device and model first, both protocols' results last."""
from pathlib import Path

import torch

from DataHandler import unread_features
from Params import OWN
from Runs.Flags import flags_read
from Runs.Recorded import flags_in_words
from Utils.Metrics import NAMES
from Utils.TimeLogger import log


def describe(metrics, k):
    return ' '.join(f'{name.capitalize() if name != "ndcg" else "NDCG"}@{k} {metrics[name]:.4f}' for name in NAMES)


def log_header(settings, dataset, device, model, out):
    facts = dataset.statistics()
    log(f'{settings.model} on {dataset.name}: {facts["users"]:,} users, {facts["items"]:,} items, interactions '
        f'{facts["train"]:,} train / {facts["val"]:,} val / {facts["test"]:,} test, '
        f'sparsity {facts["sparsity_percent"]} %')
    for line in lines_on_settings(settings, type(model)):
        log(line)
    if type(model).needs_features:
        log('modalities: ' + ', '.join(f'{name} ({width})' for name, width in facts['modalities'].items()))
    if unread := unread_features(Path(settings.data_dir) / settings.data):
        log(f'not read: {", ".join(path.name for path in unread)}; features are read from NAME_feat.npy and '
            'NAME_feat.npy.zip')
    where = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'{torch.get_num_threads()} threads'
    parameters = sum(parameter.numel() for parameter in model.parameters())
    log(f'device: {device} ({where}); {parameters:,} parameters; seed {settings.seed}; results in {out}')


def lines_on_settings(settings, model_class):
    """Whose defaults are in effect, and which given flags change nothing."""
    if settings.own:
        told = ', '.join(f'{name} {getattr(settings, name)}' for name in sorted(settings.own))
        yield f"{settings.model}'s own defaults, from {OWN.parent.name}/{OWN.name}: {told}"
    if unread := settings.given - flags_read(model_class):
        yield f'given, but not read by {settings.model}, so that nothing changes: {flags_in_words(unread)}'


def log_protocols(summary, popularity, k):
    test, val = summary['best_test'], summary['best_val']
    if val:
        log(f'best validation Recall at epoch {val["epoch"]}: val {describe(val["val"], k)}; '
            f'test {describe(val["test"], k)}')
    else:
        log('no validation interactions: no epoch can be selected without looking at the test set')
    if test:
        log(f'best test Recall (the release\'s protocol) at epoch {test["epoch"]}: test {describe(test, k)}')
    log(f'ranking by popularity, for comparison: test {describe(popularity["test"].means(), k)}')
