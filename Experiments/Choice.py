"""What a sweep's runs come to: the table of all of them, and the point with the best validation Recall."""
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from statistics import mean

from DataHandler import find_folder, load_matrix
from Datasets.generate import ensure_generated
from Experiments.Grids import name_of, words_of
from Experiments.Jobs import Job, settings_by
from Experiments.SavedRuns import read_run, told
from Experiments.Tables import replacing, write_csv
from Runs.Lock import Lock
from Utils.Errors import InputError


def jobs_of(point, seeds, flags, root):
    """The runs of one point in root/seed<S>. InputError if Main.py would not take their flags."""
    jobs = [Job(root / f'seed{seed}', (*flags, *words_of(point), '--seed', str(seed))) for seed in seeds]
    settings_by(jobs[0].flags)
    return jobs


def check_distinct(points, flags):
    """InputError where two points are the same settings in other words."""
    seen = {}
    for point in points:
        settings = settings_by([*flags, *words_of(point)], combined=False)
        key = json.dumps(told(asdict(settings)), sort_keys=True)
        if key in seen:
            raise InputError(f'The points {seen[key]} and {name_of(point)} are the same: leave one of them out.')
        seen[key] = name_of(point)


def nothing_to_choose_by(name):
    return InputError(f'{name} has no validation interactions: nothing can be selected without looking at the test '
                      'set.')


def check_validation(settings):
    """InputError where the data set has no validation interactions; before anything is trained."""
    ensure_generated(settings.data_dir, settings.data)
    if not load_matrix(find_folder(Path(settings.data_dir), settings.data), 'valMat').nnz:
        raise nothing_to_choose_by(settings.data)


def row_of(point, run):
    chosen, best = run.result['best_val'], run.result['best_test']
    if chosen is None:
        raise nothing_to_choose_by(run.dataset)
    return {**point, 'seed': run.seed, 'epochs': run.n_epochs, 'epoch': chosen['epoch'],
            **{f'{split}_{name}': value for split in ('val', 'test') for name, value in chosen[split].items()},
            'best_test_epoch': best['epoch'], **{f'best_test_{name}': best[name] for name in chosen['test']},
            'seconds': run.result['seconds'], 'folder': str(run.folder)}


def candidates_of(planned):
    """The points whose seeds are all finished, as sweep.json tells the chosen one."""
    for point, jobs in planned:
        if all(job.finished() for job in jobs):
            runs = [read_run(job.folder) for job in jobs]
            yield {'settings': point, 'folder': str(jobs[0].folder.parent), 'seeds': [run.seed for run in runs],
                   'val_recall': mean(run.result['best_val']['val']['recall'] for run in runs),
                   'test_recall': mean(run.test('val')['recall'] for run in runs)}


def best_of(candidates):
    """Of equal ones the first; None of none."""
    return max(candidates, key=lambda candidate: candidate['val_recall'], default=None)


def write_results(planned, root, pruned=()):
    """sweep.csv of the finished runs; sweep.json of the best point, if one has all its seeds. Returns the latter.

    planned: [(point, its jobs)]; pruned: names of points that are left out. To be called while nobody else may, lest
    an older table replace a newer.
    """
    kept = [(point, jobs) for point, jobs in planned if name_of(point) not in pruned]
    rows = [row_of(point, run) for point, jobs in kept for job in jobs if (run := read_run(job.folder))]
    if rows:
        write_csv(root / 'sweep.csv', rows)
    candidates = list(candidates_of(kept))
    best = best_of(candidates)
    if best:
        content = {'chosen': best, 'points': len(planned), 'finished': len(candidates)}
        content |= {'pruned': len(pruned)} if pruned else {}
        with replacing(root / 'sweep.json') as path:
            path.write_text(json.dumps(content, indent=2) + '\n')
    return best


def copy_made(job, folder):
    """Put a copy of the finished run in `folder`, without what only serves to continue it, in the job's place, unless
    something is there or another worker is at it."""
    lock = Lock(job.mark('claim'))
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    if not (folder / 'result.json').is_file() or not lock.take():
        return
    try:
        partial = job.mark('partial')
        shutil.rmtree(partial, ignore_errors=True)
        if not job.folder.exists():
            shutil.copytree(folder, partial, ignore=shutil.ignore_patterns('checkpoint*', '.*'))
            partial.rename(job.folder)
    finally:
        lock.release()
