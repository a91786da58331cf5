"""The models that MDMNS is compared with: name for --model -> class."""
from Baselines.diffmm import DiffMM

BASELINES = {'diffmm': DiffMM}
