"""The models that MDMNS is compared with: name for --model -> class."""

BASELINES = {}
