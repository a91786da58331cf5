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

    def begin(self):
        """Make the state of the parameters as it is before the first step, unless it is there."""
        if not self.state:
            for parameter in (parameter for group in self.param_groups for parameter in group['params']):
                parameter.grad = torch.zeros_like(parameter)
            self.step()  # by nothing
            self.zero_grad()

    def state_tensors(self):
        return [tensor for state in self.state.values() for tensor in state.values()]
