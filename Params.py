"""Every setting of the suite, declared once: its name, default, range and one line of help.

Names and defaults are those of the released program (SPEC section 8), except `--data`, whose released
default names a data set that does not exist. What `parse` returns is frozen and is passed on explicitly.

A model may have defaults of its own, in Baselines/defaults.json; MDMNS has none but these.
"""
import json
import shlex
import sys
from dataclasses import make_dataclass
from pathlib import Path

from Utils.CommandLine import HelpFormatter, NumberList, Parser, boolean, number, or_none
from Utils.Errors import InputError, suggestion

OWN = Path(__file__).resolve().parent / 'Baselines' / 'defaults.json'  # the models' own defaults
# What is read for a model with parameters that the training loop's Adam trains; for the `flags` of its class
TRAINED = frozenset({'lr', 'batch'})


def build_parser():
    parser = Parser(prog='Main.py', allow_abbrev=False, formatter_class=HelpFormatter,
                    description='Train and evaluate MDMNS on a data set folder; results go to a run folder.')

    run = parser.add_argument_group('run')
    run.add_argument('--data', type=str, default='demo', help='data set: a folder below --data_dir (demo is generated)')
    run.add_argument('--data_dir', type=str, default='Datasets', help='folder that holds the data set folders')
    run.add_argument('--modalities', nargs='*', default=None, metavar='NAME',
                     help='modalities to use, in this order, or the flag alone for none; baselines without features '
                          'use none; default: all the data set has')
    run.add_argument('--model', type=str, default='mdmns', help='mdmns, or one that docs/USAGE.md lists')
    run.add_argument('--like', default=None, metavar='RUN',
                     help='take the settings of this run folder; flags that are given come before them')
    run.add_argument('--out', default=None, help="the run's folder; default: results/<data>/<model>-seed<seed>")
    run.add_argument('--resume', action='store_true', help='go on with the run in --out where its checkpoint stands')
    run.add_argument('--overwrite', action='store_true', help='replace a run that --out holds')
    run.add_argument('--checkpoint_every', type=number(int, 0), default=1, metavar='EPOCHS',
                     help='save what --resume needs after every this many epochs; 0: only when stopped by Ctrl-C or '
                          'SIGTERM')
    run.add_argument('--recommend', default=None, metavar='FILE',
                     help="write each user's best items: a TREC run file if FILE ends in .trec, else CSV")
    run.add_argument('--load', default=None, metavar='RUN',
                     help='with --recommend: take the embeddings of this run folder, train nothing')
    run.add_argument('--seed', type=number(int, 0, 2**63 - 1), default=421, help='seed of everything random')
    run.add_argument('--device', type=str, default='auto',
                     help='auto, cpu, cuda or cuda:N; auto takes CUDA where there is one')
    run.add_argument('--gpu', type=str, default='0', help='which CUDA device --device auto takes')

    train = parser.add_argument_group('training and evaluation')
    train.add_argument('--lr', type=number(float, above=0), default=1e-3, help='learning rate of every Adam')
    train.add_argument('--batch', type=number(int, 1), default=1024, help='interactions (or user rows) per step')
    train.add_argument('--tstBat', type=number(int, 1), default=256, help='users per evaluation step')
    train.add_argument('--reg', type=number(float, 0), default=1e-5,
                       help='weight decay of the id embeddings; what it weighs in a baseline says its file')
    train.add_argument('--epoch', type=number(int, 1), default=50,
                       help='number of epochs; pop, itemknn and ease have one')
    train.add_argument('--patience', type=or_none(number(int, 1)), default=None, metavar='N',
                       help='stop after this many evaluations in a row without a better validation Recall, or none; '
                            'default: never')
    train.add_argument('--tstEpoch', type=number(int, 1), default=1, help='evaluate every this many epochs')
    train.add_argument('--topk', type=number(int, 1), default=20, help='length of the ranked lists')

    network = parser.add_argument_group('recommender (SPEC sections 5 and 6)')
    network.add_argument('--latdim', type=number(int, 1), default=64, help='width d of the embeddings')
    network.add_argument('--gnn_layer', type=number(int, 0), default=1,
                         help='layers of the interaction graph, in mdmns and diffmm after the modal ones')
    network.add_argument('--trans', type=number(int, 0, 2), default=0,
                         help='projection of features: 0 matrix + LeakyReLU, 1 linear layer, 2 linear for text only')
    network.add_argument('--ris_lambda', type=number(float, 0), default=0.5, help='weight of the residual norm(H)')
    network.add_argument('--ris_adj_lambda', type=number(float, 0), default=0.2, help='weight of the modal graphs')
    network.add_argument('--cl_method', type=number(int, 0, 1), default=0,
                         help='contrastive loss: 0 cross-modal, 1 multi-level; diffmm: 1 each view with the output')
    network.add_argument('--ssl_reg', type=number(float, 0), default=1e-2,
                         help='weight of the contrastive loss; bm3: of its losses of features')
    network.add_argument('--temp', type=number(float, above=0), default=0.5, help='temperature of the contrast')
    network.add_argument('--noise_levels', nargs='*', action=NumberList, kind=number(float, 0), default=None,
                         metavar='LEVEL', help='noise of the multi-level negatives, the flag alone for none; '
                                               'default: floor of --steps /10, /8, /4, /2')

    ranking = parser.add_argument_group('ranking loss: of every model that is trained by BPR (docs/VARIANTS.md)')
    ranking.add_argument('--loss', choices=('bpr', 'softmax'), default='bpr',
                         help='BPR of inner products, or softmax over the cosines with all items; scores are by these')
    ranking.add_argument('--loss_temp', type=number(float, above=0), default=0.2, help='softmax: its temperature')
    ranking.add_argument('--loss_pop', type=number(float, 0), default=0.0,
                         help='softmax: items count as negatives in proportion to this power of their interactions')

    variants = parser.add_argument_group('beyond the release (docs/VARIANTS.md)')
    variants.add_argument('--fused', choices=('released', 'trained', 'joint'), default='released',
                          help='what is trained to rank: each modal output; the fused one, too; or the score as a '
                               'whole. With the latter two the fused items have noised negatives, too')
    variants.add_argument('--score', choices=('sum', 'fused'), default='sum',
                          help='what is scored: the sum over all outputs, or the fused one alone')
    variants.add_argument('--decay', choices=('tables', 'batch', 'outputs'), default='tables',
                          help="what --reg weighs: the whole id tables, the batch's rows of them, or of what ranks")
    variants.add_argument('--layers', choices=('sum', 'mean'), default='sum',
                          help='how the layers of the interaction graph are joined')
    variants.add_argument('--item_lambda', type=number(float, 0), default=0.0,
                          help='weight of the graphs between items of like features, one a modality; 0: none')
    variants.add_argument('--rebuild_from', choices=('all', 'new'), default='all',
                          help="a rebuilt graph's items: the largest of the sample, or of those not in training")
    variants.add_argument('--rebuild_weights', choices=('equal', 'sample'), default='equal',
                          help="a rebuilt graph's weights: 1, or the sample's, the user's largest being 1")

    diffusion = parser.add_argument_group('diffusion (SPEC section 3)')
    diffusion.add_argument('--guidance', choices=('released', 'none', 'learned', 'profile'), default='released',
                           help='what the denoiser sees: rows fused with the other modalities, or the noised rows '
                                "(diffmm: always these); these and a trained fusion, or the user's mean features")
    diffusion.add_argument('--guide_fused_hidden_dim', type=number(int, 1), default=64, help='width h of the fusion')
    diffusion.add_argument('--dims', nargs='+', action=NumberList, kind=number(int, 1), default=(1000,),
                           metavar='WIDTH', help="hidden widths of the denoisers: 1000, 512 256 or '[1000]'")
    diffusion.add_argument('--d_emb_size', type=number(int, 2), default=10, help='width of the time embedding')
    diffusion.add_argument('--norm', type=boolean, nargs='?', const=True, default=False, metavar='true|false',
                           help="scale the denoiser's input rows to unit length")
    diffusion.add_argument('--steps', type=number(int, 1), default=5, help='diffusion steps')
    diffusion.add_argument('--noise_scale', type=number(float, above=0), default=0.1, help='scale of the noise')
    diffusion.add_argument('--noise_min', type=number(float, 0), default=1e-4, help='smallest noise')
    diffusion.add_argument('--noise_max', type=number(float, above=0), default=0.02, help='largest noise')
    diffusion.add_argument('--sampling_noise', type=boolean, nargs='?', const=True, default=False,
                           metavar='true|false', help="add the posterior's noise when sampling")
    diffusion.add_argument('--sampling_steps', type=number(int, 0), default=0,
                           help='steps of noise a row gets before it is sampled; 0: the plain row')
    diffusion.add_argument('--rebuild_k', type=number(int, 1), default=1, help='items per user of a rebuilt graph')
    diffusion.add_argument('--e_loss', type=number(float, 0), default=0.1, help='weight of the modal alignment')
    diffusion.add_argument('--keepRate', type=number(float, above=0, high=1), default=0.5,
                           help='share of the rebuilt edges kept')

    plain = parser.add_argument_group('baselines without features')
    plain.add_argument('--neighbours', type=number(int, 1), default=100, help='itemknn: similar items kept per item')
    plain.add_argument('--shrink', type=number(float, 0), default=10.0,
                       help='itemknn: added to the denominator of the cosine')
    plain.add_argument('--ridge', type=number(float, above=0), default=100.0,
                       help='ease: weight of the squares of its matrix')
    plain.add_argument('--alpha', type=number(float, above=0), default=0.1,
                       help='ials: weight of the error on every user-item pair; an interaction has 1')
    plain.add_argument('--message_drop', type=number(float, 0, 0.99), default=0.1,
                       help="ngcf: dropout of each layer's output")
    plain.add_argument('--edge_drop', type=number(float, 0, 0.99), default=0.1,
                       help='sgl, mmgcl, freedom: share of the interactions left out of a graph; hccf: of the entries '
                            'of its graphs')
    plain.add_argument('--clusters', type=number(int, 1), default=100, help='ncl: clusters of users, and of items')
    plain.add_argument('--proto_reg', type=number(float, 0), default=1e-3,
                       help='ncl: weight of the contrast with the clusters')
    plain.add_argument('--hyperedges', type=number(int, 1), default=128, help='hccf: hyperedges of users, and of items')
    plain.add_argument('--hypergraph', choices=('paper', 'program'), default='paper',
                       help="hccf: as in its paper, or as its authors' later program has it")
    featured = parser.add_argument_group('baselines with features')
    featured.add_argument('--embed_drop', type=number(float, 0, 0.99), default=0.3,
                          help='bm3: dropout that makes the views the targets; slmrec: of the task fd')
    featured.add_argument('--routing', type=number(int, 0), default=3,
                          help="grcn: rounds in which users' tastes are drawn to the features of their items")
    featured.add_argument('--ssl_task', choices=('fac', 'fd', 'fm'), default='fac',
                          help='slmrec: its self-supervised task: fac along the modalities, fd dropout of features, '
                               'fm masking of modalities')
    featured.add_argument('--item_links', type=number(int, 1), default=10,
                          help='lattice, freedom, mgcn, --item_lambda: nearest items by features that an item is '
                               'linked to')
    featured.add_argument('--item_layers', type=number(int, 0), default=1,
                          help='lattice, freedom, mgcn, --item_lambda: layers over the graph between items')
    featured.add_argument('--graph_skip', type=number(float, 0, 1), default=0.9,
                          help='lattice: share of the graphs of raw features; the rest is of learned ones')

    speed = parser.add_argument_group('speed and memory')
    speed.add_argument('--precision', type=or_none(str), choices=('highest', 'high', 'bf16', None), default=None,
                       metavar='highest|high|bf16',
                       help='matrix products: highest float32, high TF32 on CUDA, bf16 besides bfloat16 while the '
                            'denoisers train; default: highest on a CPU, high on CUDA')
    speed.add_argument('--cl_sample', type=or_none(number(int, 1)), default=None, metavar='N',
                       help='contrast over this many rows drawn anew each step (mdmns: the multi-level one, of all '
                            "rows; sgl, ncl, hccf: of the batch's; clcrec: its negatives), or none; default: over all "
                            'of them')
    speed.add_argument('--nce_chunk', type=or_none(number(int, 1)), default=None, metavar='ROWS',
                       help='rows of similarities held at a time; default: what suits the device')
    return parser


def check_combinations(settings):
    """The rules that concern more than one setting of a run."""
    if settings.sampling_steps > settings.steps:
        raise InputError(f'--sampling_steps {settings.sampling_steps} is more than --steps {settings.steps}: '
                         'lower the one or raise the other')
    if settings.decay == 'outputs' and settings.loss == 'softmax':
        raise InputError('--decay outputs weighs the lengths of rows, which --loss softmax does not see: give batch or '
                         'tables')
    if settings.noise_min > settings.noise_max:
        raise InputError(f'--noise_min {settings.noise_min} is above --noise_max {settings.noise_max}: swap them')
    if settings.noise_scale * settings.noise_max >= 1:
        raise InputError(f'--noise_scale {settings.noise_scale} times --noise_max {settings.noise_max} is the largest '
                         'variance of a diffusion step and must stay below 1: lower one of them')


def check_call(settings):
    """The rules for the flags that say what a command is to do."""
    for flag, expected in (('out', 'the folder for the results of the run'), ('recommend', 'a file'),
                           ('load', 'the folder of a run'), ('like', 'the folder of a run')):
        if getattr(settings, flag) is not None and not getattr(settings, flag).strip():
            raise InputError(f'argument --{flag}: got a blank, expected {expected}')
    if settings.resume and settings.overwrite:
        raise InputError('--resume goes on with the run in --out and --overwrite replaces it: give one of them')
    if settings.load is not None and settings.recommend is None:
        raise InputError('--load only serves to write recommendations: give their file with --recommend')
    if settings.load is not None and settings.like is not None:
        raise InputError('--like trains as another run did and --load trains nothing: give one of them')
    if not settings.gpu.isdecimal():
        raise InputError(f'argument --gpu: got {settings.gpu!r}, expected the number of one CUDA device, such as 0')


def own_defaults(model, data):
    """The values by name that the file OWN has for a model, on a data set of that name where it has others for that."""
    try:
        content = json.loads(OWN.read_text())
        models, on_data = content['models'], content.get('data', {}).get(data, {})
        return {**models.get(model, {}), **on_data.get(model, {})}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f'{OWN} is not a file of defaults ({type(error).__name__}): expected {{"models": {{MODEL: {{'
                         'FLAG: VALUE}}, "data": {DATA: {MODEL: {FLAG: VALUE}}}}.') from error


def parse(argv=None, recorded=None, combined=True):
    """Command line -> frozen settings; InputError if a flag is unknown or out of range.

    What the line does not say is taken from `recorded` (values by name, of a saved run), else from the model's own
    defaults, else from those declared above. combined: whether the settings must also fit each other; not where those
    of a run are still to stand in.

    Beside the settings: `given`, the names of those that the line says; `own`, of those that are the model's own
    defaults; `line`, the command line itself.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = build_parser()
    declared = parser.checked({name: action.default for name, action in parser.flags().items()}, 'Params.py')
    if {'-h', '--help'} & set(argv):
        show_help(parser, argv, declared)
    given, unknown = parser.read(argv)
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings]
        parser.error(f'unrecognized arguments: {" ".join(unknown)}. {suggestion(unknown[0].split("=")[0], flags)}')
    recorded = parser.checked(recorded or {}, 'The settings of the saved run cannot be')
    chosen = {**declared, **recorded, **given}
    own = own_values(parser, chosen['model'], chosen['data'])
    values = {**declared, **own, **recorded, **given}
    if values['modalities'] is not None:
        values['modalities'] = tuple(values['modalities'])
    settings = make_dataclass('Settings', values, frozen=True, namespace={
        'given': frozenset(given), 'own': frozenset(own) - {*recorded, *given}, 'line': shlex.join(argv)})(**values)
    check_call(settings)
    if combined:
        check_combinations(settings)
    return settings


def own_values(parser, model, data):
    """`own_defaults`, each through the converter of its flag; InputError for one that is not the model's to choose."""
    own = own_defaults(model, data)
    if strange := sorted({action.dest for action in parser.group('run')} & own.keys()):
        raise InputError(f'{OWN}, {model}: --{strange[0]} says which run it is or where, and is no default of a model: '
                         'take it out.')
    return parser.checked(own, f'{OWN}, {model}')


def show_help(parser, argv, declared):
    """Print the help and end the program. Defaults are those of the model and data set that the line names."""
    names = Parser(add_help=False, allow_abbrev=False)
    for name in ('model', 'data'):
        names.add_argument(f'--{name}', default=declared[name])
    named = names.parse_known_args(argv)[0]
    own = own_values(parser, named.model, named.data)
    parser.set_defaults(**declared | own)
    for name, action in parser.flags().items():
        action.whose = f' of {named.model}' if name in own else ''
    if own:
        parser.description += f' Defaults of {named.model} are its own, from {OWN.parent.name}/{OWN.name}.'
    parser.print_help()
    parser.exit()
