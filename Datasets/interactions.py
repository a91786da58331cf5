"""Interactions: filtered, numbered anew, and split into training, validation and test."""
from dataclasses import dataclass, fields, replace

import numpy as np
import scipy.sparse as sp

from Utils.Errors import InputError

TRAIN, VAL, TEST = range(3)


@dataclass(frozen=True)
class Interactions:
    """One entry per interaction; users and items as numbers that count through `user_ids` and `item_ids`."""

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray | None
    times: np.ndarray | None
    labels: np.ndarray | None
    user_ids: list
    item_ids: list

    def __len__(self):
        return len(self.users)

    def keep(self, chosen):
        """The interactions that an index or mask chooses; the ids stay."""
        return replace(self, **{name: column[chosen] for name, column in self.columns().items()})

    def columns(self):
        columns = {field.name: getattr(self, field.name) for field in fields(self)[:5]}
        return {name: column for name, column in columns.items() if column is not None}


def at_least(data, rating):
    if data.ratings is None:
        raise InputError('--min_rating needs a rating column: name it with --rating.')
    return data.keep(data.ratings >= rating)


def once_each(data):
    """Of interactions of the same user and item, the earliest; the first in the file where there is no time."""
    again, keys = _repeated(data)
    if not len(again):
        return data
    order = (np.argsort(keys, kind='stable') if data.times is None else np.lexsort((data.times[again], keys)))
    later = np.diff(keys[order], prepend=-1) == 0
    left = np.ones(len(data), bool)
    left[again[order[later]]] = False
    return data.keep(left)


def _repeated(data):
    """The interactions whose user and item occur more than once together, and a number for each such pair."""
    n_items = len(data.item_ids)
    keys = data.users * np.int64(n_items)
    keys += data.items
    keys.sort()
    twice = np.unique(keys[1:][keys[1:] == keys[:-1]])
    del keys
    of_user, of_item = np.zeros(len(data.user_ids), bool), np.zeros(n_items, bool)
    of_user[twice // n_items] = of_item[twice % n_items] = True
    again = np.flatnonzero(of_user[data.users] & of_item[data.items])  # most others are out, with little work
    keys = data.users[again] * np.int64(n_items) + data.items[again]
    same = np.isin(keys, twice)
    return again[same], keys[same]


def in_two_splits(data):
    """How many pairs of user and item have labels of more than one split."""
    again, keys = _repeated(data)
    pairs = np.unique(keys * 3 + data.labels[again]) // 3
    return len(np.unique(pairs[1:][pairs[1:] == pairs[:-1]]))


def k_core(data, k):
    """What is left when users and items with fewer than k interactions are taken out until there are none."""
    users, items = data.users, data.items
    of_user, of_item = np.bincount(users), np.bincount(items)
    left = None
    while len(users):
        poor = (of_user < k)[users] | (of_item < k)[items]
        if not poor.any():
            break
        of_user -= np.bincount(users[poor], minlength=len(of_user))
        of_item -= np.bincount(items[poor], minlength=len(of_item))
        rich = ~poor
        users, items = users[rich], items[rich]
        left = np.flatnonzero(rich) if left is None else left[rich]
    return data if left is None else data.keep(left)


def renumbered(data):
    """Users and items that have interactions, numbered anew: by their ids where all are whole numbers, else in the
    order in which they appear in the file. Returns the data and the old numbers of the items by the new ones."""
    changed = {}
    for side, ids in (('users', data.user_ids), ('items', data.item_ids)):
        column = getattr(data, side)
        old = np.flatnonzero(np.bincount(column))
        if whole_numbers(ids):
            old = old[np.argsort([int(ids[number]) for number in old], kind='stable')]
        new = np.empty(len(ids), np.int32)
        new[old] = np.arange(len(old))
        changed |= {side: new[column], f'{side[:-1]}_ids': [ids[number] for number in old]}
    return replace(data, **changed), old


def whole_numbers(ids):
    return all(name.isdecimal() and len(name) < 16 and (name == '0' or name[0] != '0') for name in ids)


def split(data, how, ratio, rng):
    """TRAIN, VAL or TEST for each interaction.

    random: each user's interactions in the given ratio, by lot, one of them at least for training; leave-one-out: each
    user's last (without times: one by lot) for the test and the one before for validation, users with fewer than three
    stay in training; time: all interactions by their time, in the given ratio; label: as the file says.
    """
    parts = np.zeros(len(data), np.int8)
    if how == 'label':
        if data.labels is None:
            raise InputError('--split label needs a column x_label, or another that --label names: this file has none.')
        return data.labels
    if how == 'time':
        if data.times is None:
            raise InputError('--split time needs a column of times: name it with --time.')
        cuts = np.round(np.cumsum(ratio)[:2] / sum(ratio) * len(data)).astype(int)
        for part, chosen in enumerate(np.split(np.argsort(data.times, kind='stable'), cuts)):
            parts[chosen] = part
        return parts
    lots = rng.random(len(data))
    order = (np.argsort(lots) if how == 'random' or data.times is None else
             np.lexsort((lots, data.times)))
    order = _by_user(data.users, order)
    counts = np.bincount(data.users)
    mine = np.repeat(np.arange(len(counts), dtype=np.int32), counts)  # the user of each, in that order
    from_end = (np.cumsum(counts) - 1)[mine] - np.arange(len(data))
    if how == 'random':
        n_test, n_val = (np.floor(counts * ratio[part] / sum(ratio) + 0.5).astype(int) for part in (TEST, VAL))
        n_test = np.minimum(n_test, counts - 1)
        n_val = np.minimum(n_val, counts - 1 - n_test)
    else:
        n_test = n_val = (counts >= 3).astype(int)
    parts[order] = np.where(from_end < n_test[mine], TEST, np.where(from_end < (n_test + n_val)[mine], VAL, TRAIN))
    return parts


def _by_user(users, order):
    """The order (interactions) sorted by user, and within each user as it was: a sparse matrix's change to rows does
    just that, without comparing anything."""
    order = order.astype(np.int32)
    places = (users[order], np.arange(len(order), dtype=np.int32))
    return sp.coo_matrix((order, places), (int(users.max()) + 1, len(order))).tocsr().data
