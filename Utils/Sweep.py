"""The earlier name of `python -m Experiments.Sweep`."""
import sys

if __name__ == '__main__':
    print('python -m Utils.Sweep is now python -m Experiments.Sweep: the same flags.', file=sys.stderr)
    sys.exit(2)
