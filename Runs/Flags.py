"""Which flags count: those of every run, and those that its model's class names in `flags`."""
from dataclasses import asdict, make_dataclass

from Utils.Errors import InputError

OF_THE_CALL = ('out', 'like', 'recommend', 'load', 'resume', 'overwrite')  # settings of a command, not of the run
LAST_DIGITS = ('tstBat', 'nce_chunk')  # settings that change no more than the order of sums
PLACE = (*OF_THE_CALL, *LAST_DIGITS, 'data_dir', 'device', 'gpu', 'checkpoint_every')  # do not say what is computed
EVERY = frozenset(PLACE) - {'nce_chunk'} | {'data', 'model', 'seed', 'topk', 'precision'}  # read whatever the model is
EPOCHS = frozenset({'epoch', 'tstEpoch', 'patience'})  # not for a model with a single epoch


def flags_read(model_class):
    """The names of the flags that a run of this model reads."""
    return EVERY | model_class.flags | (frozenset() if model_class.closed_form else EPOCHS) | (
        {'modalities'} if model_class.needs_features else frozenset())


def flags_that_count(model_class):
    """The names of the flags that say what a run of this model computes."""
    return flags_read(model_class) - frozenset(PLACE)


class _ModelSettings:
    """The settings that a model's class has declared; another one cannot be read by mistake."""

    def __getattr__(self, name):  # asked for what is not there alone
        if name.startswith('__'):
            raise AttributeError(name)
        raise InputError(f'The model reads --{name}, which the `flags` of its class do not name: add it there, since '
                         'runs are told apart by the flags that count.')


def model_settings(settings, model_class):
    """The settings as the model sees them: those that `flags_read` names."""
    read = flags_read(model_class)
    values = {name: value for name, value in asdict(settings).items() if name in read}
    return make_dataclass('ModelSettings', values, bases=(_ModelSettings,), frozen=True)(**values)
