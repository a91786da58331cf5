"""torch's Adam, without loading torch's compiler."""
import inspect

import torch

step, zero_grad, state_dict, load_state_dict, add_param_group = (
    inspect.unwrap(getattr(torch.optim.Adam, name))
    for name in ('step', 'zero_grad', 'state_dict', 'load_state_dict', 'add_param_group'))


class Adam(torch.optim.Adam):
    """torch wraps these methods to keep them out of compiled code, and imports its whole compiler when the first of
    them is called: more than a second of every run, which compiles nothing."""

    zero_grad, state_dict, load_state_dict, add_param_group = zero_grad, state_dict, load_state_dict, add_param_group

    @torch.no_grad()
    def step(self):
        return step(self)
