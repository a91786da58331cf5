"""The earlier name of `python -m Benchmark`."""
import sys

if __name__ == '__main__':
    print('python -m Utils.Benchmark is now python -m Benchmark: the same flags.', file=sys.stderr)
    sys.exit(2)
