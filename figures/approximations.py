"""What --cl_sample and --precision bf16 change, beside the exact runs: python figures/approximations.py

Reads metrics.csv of the runs in results/tiktok (image and audio, d = 64); writes cl_sample.csv, cl_sample.md,
precision.csv and precision.md, and the README's tables of these names.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from figures.curves import read, spread
from Utils.Tables import FIGURES, ROOT, write_csv, write_markdown

RUNS = ROOT / 'results' / 'tiktok'
FLAGS = ('python Main.py --data tiktok --data_dir DIR --modalities image audio --reg 1e-4 --ssl_reg 1e-2 --trans 1 '
         '--e_loss 0.1 --latdim 64 --gnn_layer 1 --temp 0.5 --steps 5')
CONTRASTS = {'all rows': ('cl1-d64', '--cl_method 1 --epoch 4'),
             '`--cl_sample 1024`': ('cl1-d64-sample1024', '--cl_method 1 --epoch 4 --cl_sample 1024')}
PRECISIONS = {'highest': ('precision/highest', '--cl_method 0 --epoch 10'),
              'bf16': ('precision/bf16', '--cl_method 0 --epoch 10 --precision bf16')}


def runs(folder, flags, pattern):
    found = [read(path) for path in sorted((RUNS / folder).glob(pattern))]
    if not found:
        raise SystemExit(f'figures/approximations.py: no run in {RUNS / folder}. Make one with:\n  '
                         f'{FLAGS} {flags} --seed 421 --out results/tiktok/'
                         + (folder if pattern == 'metrics.csv' else f'{folder}/seed421'))
    return found


def main():
    contrasts = {name: runs(*where, '*/metrics.csv') for name, where in CONTRASTS.items()}
    epochs = range(min(len(run) for found in contrasts.values() for run in found))
    table = [{'contrast over': name, 'seeds': len(found),
              **{f'epoch {epoch}': spread([run[epoch]['test_recall'] for run in found]) for epoch in epochs}}
             for name, found in contrasts.items()]
    columns = {'diffusion_image': 'denoiser loss, image', 'diffusion_audio': 'denoiser loss, audio', 'bpr': 'BPR',
               'cl': 'contrast', 'test_recall': 'test Recall@20', 'seconds': 'seconds'}
    precisions = [{'`--precision`': name, **{label: f'{run[0][column]:.4g}' for column, label in columns.items()}}
                  for name, where in PRECISIONS.items() for run in runs(*where, 'metrics.csv')]
    for name, rows in (('cl_sample', table), ('precision', precisions)):
        write_csv(FIGURES / f'{name}.csv', rows)
        print(write_markdown(name, rows), end='\n\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
