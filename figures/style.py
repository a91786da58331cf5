"""How every picture looks: colours that colour-blind eyes tell apart, sizes, and a white ground."""
import matplotlib.pyplot as plt

from Experiments.Tables import replacing

# Okabe and Ito's colours, without the yellow that is too light on white
BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE = '#0072B2', '#D55E00', '#009E73', '#CC79A7', '#56B4E9', '#E69F00'
GREY, BLACK = '#777777', '#000000'
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE, BLACK)
MARKERS = 'oDs^vPX'  # one with each colour: prints without colour are told apart too

plt.rcParams.update({'font.size': 9, 'axes.titlesize': 9, 'axes.labelsize': 9, 'legend.fontsize': 8,
                     'xtick.labelsize': 8, 'ytick.labelsize': 8, 'axes.grid': True, 'grid.alpha': 0.3,
                     'axes.axisbelow': True, 'lines.linewidth': 1.5, 'lines.markersize': 5})


def save(figure, path):
    with replacing(path) as partial:
        figure.savefig(partial, dpi=160, facecolor='white')
    plt.close(figure)
