"""One pass over shuffled rows in batches, which can be left after any step and taken up again later."""
import torch

from Utils.Errors import InputError, NotFiniteError
from Utils.Ranks import add_up
from Utils.TimeLogger import progress, show_loss

CHECK_EVERY = 10  # steps: reading a loss makes a GPU wait


class Pass:
    """The order of the rows, drawn at the start, and the loss terms of the steps that are done.

    rows: how many there are; companions: tensors that belong to the pass and are kept with it, such as its negatives.
    """

    def __init__(self, rows, generator, **companions):
        self.companions = companions
        self.order = torch.randperm(rows, generator=generator, device=generator.device)
        self.names = []
        self.losses = []  # a vector per step, in the order of the names

    def batches(self, size, description):
        """The batches that are left, one per step; `add` is to be called after each."""
        batches = self.order.split(size)
        done = len(self.losses)
        bar = progress(batches[done:], description, done)
        for batch in bar:
            yield batch
            show_loss(bar, self.losses[-1].sum())
        self.check()

    def add(self, terms):
        """Note a step's loss terms (name -> scalar), of which each process has its part, and which stay on the device;
        now and then, `check` them."""
        names = list(terms)
        if self.losses and names != self.names:
            raise InputError(f'The loss terms of a step are {", ".join(names)}, those before it '
                             f'{", ".join(self.names)}: every step of a pass needs the same, 0 where there is nothing.')
        self.names = names
        self.losses.append(add_up(torch.stack([term.detach() for term in terms.values()])))
        if len(self.losses) % CHECK_EVERY == 0:
            self.check()

    def means(self):
        """name -> mean over the steps."""
        return dict(zip(self.names, (sum(self.losses) / len(self.losses)).tolist(), strict=True))

    def check(self):
        """NotFiniteError if a loss term of the steps done is."""
        if not self.losses:
            return
        bad = ~torch.stack(self.losses).isfinite()
        if bad.any():
            step, term = bad.nonzero()[0].tolist()
            value = float(self.losses[step][term])
            raise NotFiniteError(f'The loss term {self.names[term]} became {value} at step {step}')

    def state(self):
        """For a checkpoint: what `from_state` makes the same pass of. NotFiniteError as `check`."""
        self.check()
        return {'companions': self.companions, 'order': self.order, 'names': self.names, 'losses': self.losses}

    @classmethod
    def from_state(cls, state, device):
        new = cls.__new__(cls)
        new.companions = {name: tensor.to(device) for name, tensor in state['companions'].items()}
        new.order, new.names = state['order'].to(device), state['names']
        new.losses = [losses.to(device) for losses in state['losses']]
        return new
