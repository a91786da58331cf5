"""Our own drawing of the model, and the table of its parts: python figures/model.py

Writes model.png and model.svg, and model.csv and model.md, from the lists below. The index m stands for
every modality. Section numbers are those of SPEC.md.
"""
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from figures.runs import command_line, read_command_line, write_tables
from figures.style import save
from Utils.Command import run_command

NAME = 'model'

SIZE = 10.8, 8.8  # inches; so are all positions, from the lower left corner
HEIGHT = 0.84  # of a box
BUS = 4.27  # where the lines of the inputs that H_m and V_m share run together

# lower edge, upper edge, tint (of the Okabe-Ito colours), title
BANDS = {'diffusion': (6.2, 8.7, '#D6EAF6', 'diffusion (section 3)\nonce per epoch'),
         'inputs': (4.76, 5.84, '#EAEAEA', 'inputs'),
         'network': (1.8, 4.46, '#D5EFE6', 'graph network and scores\n(section 5)'),
         'losses': (0.46, 1.54, '#FBE5C0', 'losses\n(section 6)')}

# kind of box: line width, line style, tint, place in the legend, words there
KINDS = {'trained': (2.4, '-', '#FBF7B8', 0.5, 'has trained weights'),
         'computed': (0.8, '-', '#FFFFFF', 2.75, 'no weights of its own'),
         'untrained': (1.4, (0, (4, 2.5)), '#FFFFFF', 5.1, 'random or detached, never trained'),
         'epoch': (1.4, '-', '#A9D3EE', 8.3, 'made once per epoch')}

# x and y of the centre, width, kind, symbol, what it is, SPEC section, code
BOXES = {
    'X': (1.4, 5.3, 1.2, 'computed', '$X_m$', 'raw features\nof the items', '2', 'DataHandler.load_dataset'),
    'F': (2.9, 5.3, 1.2, 'trained', '$F_m$', 'projected\nfeatures', '5', 'Model.MDMNS.project'),
    'R': (4.5, 5.3, 1.4, 'computed', '$R$', 'training\ninteractions', '1', 'DataHandler.UserRows'),
    'A': (6.5, 5.3, 1.4, 'computed', '$\\hat{A}$', 'normalised\ngraph of $R$', '1', 'Utils.Graph.normalised_graph'),
    'E': (9.85, 5.3, 1.4, 'trained', '$E = [E_u; E_i]$', 'embeddings of\nusers and items', '1', 'Model.MDMNS'),
    'G': (1.75, 8.08, 1.85, 'untrained', '$G_m$', "guide: mean of the\nothers' $F$, detached", '3',
          'Model.MDMNS.guides'),
    'fusion': (4.1, 8.08, 2.2, 'untrained', 'fusion', 'convolution with weights new\nat each call, never trained', '3',
               'Utils.Diffusion.fuse, Utils.Diffusion.draw_fusion'),
    'f': (6.5, 8.08, 1.4, 'trained', '$f_m$', 'denoiser,\npredicts $x_0$', '3', 'Utils.Diffusion.Denoiser'),
    'error': (9.1, 8.08, 2.9, 'computed', 'loss of $f_m$', 'errors of $f_m$ and of a guess from $G_m$,\n'
              'alignment of $F_m$ and $E_i$ (held constant)', '3', 'Utils.Diffusion.denoising_losses'),
    'x_t': (4.1, 6.8, 1.5, 'untrained', '$x_t$', 'rows with\nnoise added', '3',
            'Utils.Diffusion.GaussianDiffusion.noised_rows'),
    'sample': (6.5, 6.8, 1.95, 'epoch', 'sampling', 'reverse process from plain\nrows, without guidance', '3',
               'Utils.Diffusion.GaussianDiffusion.sample, Utils/FastSampling.py'),
    'graph': (8.7, 6.8, 1.75, 'epoch', '$\\hat{G}_m$', 'graph of the largest\nitems, entries dropped', '3',
              'Model.MDMNS.rebuild_graphs'),
    'H': (4.1, 3.5, 1.75, 'computed', '$H_m$', '$E$, norm($F_m$) over $\\hat{A}$,\n$E$ over $\\hat{G}_m$', '5',
          'Model.MDMNS.outputs'),
    'Z': (6.15, 3.5, 1.5, 'trained', '$Z$', 'sum of $w_m H_m$,\n$w$ trained', '5', 'Model.MDMNS.outputs'),
    'Hf': (8.2, 3.5, 1.75, 'computed', '$H_f$', '$E$, norm(items of $Z$)\nover $\\hat{A}$', '5', 'Model.MDMNS.outputs'),
    'O': (4.1, 2.28, 1.75, 'computed', '$O_m$', 'modal output: layers\nover $\\hat{A}$, norm($H_m$)', '5',
          'Model.MDMNS.layers'),
    'Of': (8.2, 2.28, 1.75, 'computed', '$O_f$', 'fused output: layers\nover $\\hat{A}$, norm($H_f$)', '5',
           'Model.MDMNS.layers'),
    's': (6.15, 2.28, 1.75, 'computed', '$s(u, i)$', 'scores: products,\nsummed over $f$ and $m$', '5',
          'Model.MDMNS.scores, Utils.Metrics.DotScores'),
    'V': (1.75, 3.5, 1.85, 'computed', '$V_m$', 'views: $E_u$, norm($F_m$)\nover $\\hat{G}_m$, then $\\hat{A}$', '6',
          'Model.MDMNS.contrast_views'),
    'C': (1.75, 1, 1.85, 'computed', '$C$', 'cross-modal contrast\nof the $V_m$ (cl_method 0)', '6',
          'Utils.Utils.cross_modal_loss, Utils/NCE.py'),
    'bpr': (3.62, 1, 1.3, 'computed', 'BPR', 'on every $O_m$,\nnot on $O_f$', '6', 'Model.MDMNS.ranking_terms'),
    'noised': (5.15, 1, 1.3, 'untrained', 'noised items', 'of $O_m$, detached,\nplus noise', '6',
               'Utils.Utils.multi_level_loss'),
    'nce': (7.5, 1, 2.7, 'computed', 'NCE', 'multi-level contrast (cl_method 1):\n'
            '$O_f$ to $O_m$, $O_m$ to noised items', '6', 'Utils.Utils.multi_level_loss, Utils/NCE.py'),
    'reg': (9.85, 1, 1.3, 'computed', 'reg', 'weight decay\nof $E$', '6', 'Utils.Utils.embedding_decay')}

# from, to, the corners between; a line starts and ends at the nearest point of its box
ARROWS = [
    ('X', 'F'), ('R', 'A'), ('A', 'network', (6.5, 4.6)), ('F', 'G', (2.5, 6.9)), ('R', 'x_t', (4.1, 6)),
    ('G', 'fusion'), ('x_t', 'fusion'), ('fusion', 'f'), ('f', 'error'), ('f', 'sample'),
    ('R', 'sample', (4.9, 6.02), (6.5, 6.02)), ('sample', 'graph'),
    *((source, target, (x, BUS), (to, BUS)) for source, x in (('F', 2.9), ('graph', 8.7), ('E', 9.5))
      for target, to in (('V', 1.75), ('H', 4.1))),
    ('E', 'Hf', (9.85, 3.5)), ('H', 'Z'), ('Z', 'Hf'), ('H', 'O'), ('Hf', 'Of'), ('O', 's'), ('Of', 's'),
    ('V', 'C'), ('O', 'bpr', (3.62, 1.6)), ('O', 'noised', (4.66, 1.6)), ('noised', 'nce'),
    ('O', 'nce', (4.86, 1.67), (6.6, 1.67)), ('Of', 'nce', (8.2, 1.6)), ('E', 'reg')]
WORDS = [(4.16, 5.84, '$x_0$'), (4.96, 5.84, '$x_0$'), (6.56, 4.67, 'in every $H$, $O$ and $V$')]  # beside arrows


def edges(name):
    """Left, right, lower and upper edge of a box or a band."""
    if name in BANDS:
        return 0.1, SIZE[0] - 0.1, *BANDS[name][:2]
    x, y, width = BOXES[name][:3]
    return x - width / 2, x + width / 2, y - HEIGHT / 2, y + HEIGHT / 2


def nearest(name, point):
    """The point of a box that is nearest to another: lines along an axis stay so."""
    left, right, lower, upper = edges(name)
    return min(max(point[0], left), right), min(max(point[1], lower), upper)


def draw_box(panel, left, right, lower, upper, kind):
    width, style, tint = KINDS[kind][:3]
    panel.add_patch(FancyBboxPatch((left, lower), right - left, upper - lower, facecolor=tint, linewidth=width,
                                   linestyle=style, edgecolor='black', boxstyle='round,pad=0,rounding_size=0.06'))


def draw_arrow(panel, start, end, *corners):
    first = nearest(start, corners[0] if corners else BOXES[end][:2])
    path = [first, *corners, nearest(end, corners[-1] if corners else first)]
    panel.plot(*zip(*path, strict=True), color='black', linewidth=1.1, solid_joinstyle='miter', solid_capstyle='butt')
    panel.annotate('', path[-1], path[-2], arrowprops={'arrowstyle': '-|>', 'color': 'black', 'linewidth': 0,
                                                       'shrinkA': 0, 'shrinkB': 0, 'mutation_scale': 14})


def draw(folder):
    figure = plt.figure(figsize=SIZE)
    panel = figure.add_axes((0, 0, 1, 1), xlim=(0, SIZE[0]), ylim=(0, SIZE[1]))
    panel.axis('off')
    for name, (lower, upper, tint, title) in BANDS.items():
        left, right = edges(name)[:2]
        panel.add_patch(plt.Rectangle((left, lower), right - left, upper - lower, color=tint, linewidth=0))
        panel.text(left + 0.3, (lower + upper) / 2, title, rotation=90, ha='center', va='center', weight='bold')
    for arrow in ARROWS:
        draw_arrow(panel, *arrow)
    for x, y, words in WORDS:
        panel.text(x, y, words, va='center')
    for name, (x, y, _, kind, symbol, what, *_) in BOXES.items():
        draw_box(panel, *edges(name), kind)
        panel.text(x, y + 0.25, symbol, ha='center', va='center', fontsize=11.5)
        panel.text(x, y - 0.14, what, ha='center', va='center', linespacing=1.3)
    for kind, (*_, x, words) in KINDS.items():
        draw_box(panel, x, x + 0.35, 0.14, 0.32, kind)
        panel.text(x + 0.45, 0.23, words, va='center')
    figure.savefig(folder / f'{NAME}.svg', metadata={'Date': None})
    save(figure, folder / f'{NAME}.png')


def main(argv=None):
    options, _ = read_command_line(command_line(NAME, __doc__, data=False), argv)
    table = [{'symbol': symbol, 'what it is': what.replace('\n', ' '), 'SPEC section': section, 'code': code}
             for *_, symbol, what, section, code in BOXES.values()]
    write_tables(NAME, table, options)
    with plt.rc_context({'font.size': 9.5, 'svg.hashsalt': NAME}):  # the same ids in the SVG each time
        draw(options.to)


if __name__ == '__main__':
    sys.exit(run_command(f'figures/{NAME}.py', main))
