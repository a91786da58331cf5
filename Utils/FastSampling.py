"""The reverse process (SPEC section 3) without a pass over all items at every step.

Between the denoiser's last layer `V h + b` and its first layer `W' x` nothing happens to a row but
x <- c1 f(x) + c2 x. So two things stand for the row x = kept x_start + V H + offset b:
    the first layer's view of it, W' x, which a step turns into c1 (W'V h + W' b) + c2 W' x;
    H and the two scalars, which a step turns into c1 h + c2 H, c1 + c2 offset, c2 kept.
With W'V computed once, a step costs O(B width^2) in place of O(B I width); only the end costs a product with V.
The items' nodes of a guidance (Utils/Guidance.py) are but further columns of W.
"""
import torch

from Utils.Ranks import gathered, own_rows


def make_sampler(diffusion, denoiser, sampling_steps=0, sampling_noise=False, generator=None, told_items=None):
    """A function (RowBatch, with a guidance `Told` of its users) -> sampled rows (B, I); what it computes is
    `diffusion.sample`. told_items: what a guidance that has nodes of items is told of these, a `ToldItems`.

    Rows that are scaled to unit length or receive noise at each step are sampled by `diffusion.sample` itself.
    """
    if denoiser.norm or sampling_noise:
        return lambda x_0, told=None: diffusion.sample(
            lambda x, timesteps: denoiser(x, timesteps, None, told, told_items),
            x_0.dense(denoiser.last.weight.dtype), sampling_steps, sampling_noise, generator)
    last, first, guidance = denoiser.last, denoiser.first_items, denoiser.guidance
    width, nodes = first.shape[1], guidance and guidance.item_nodes(told_items)
    inputs = guidance and guidance.item_inputs(told_items, nodes, first)
    if nodes is not None:
        first = torch.cat([first, nodes], 1)
    hidden_to_first = gathered(own_rows(last.weight.T) @ first, last.weight.shape[1])  # V'W: (width, width)
    bias_to_first = last.bias @ first
    coefficients = [(float(a), float(b)) for a, b in
                    zip(diffusion.posterior_mean_coef1, diffusion.posterior_mean_coef2, strict=True)]

    def hidden_of(seen, told, timesteps):
        if guidance is None:
            return denoiser.inner(seen, timesteps)
        return denoiser.inner(seen[:, :width] + guidance(told, seen[:, width:], inputs), timesteps)

    def sample(x_0, told=None):
        start = None
        if sampling_steps:
            timesteps = torch.full_like(x_0.counts, sampling_steps - 1)
            noise = torch.randn(x_0.shape, generator=generator, dtype=first.dtype, device=first.device)
            start = diffusion.noised_rows(x_0, timesteps, noise)
        seen = x_0.times(first) if start is None else start @ first
        total, offset, kept = 0, 0, 1
        for step in reversed(range(diffusion.steps)):
            ours, theirs = coefficients[step]
            hidden = hidden_of(seen, told, torch.full_like(x_0.counts, step))
            total, offset, kept = ours * hidden + theirs * total, ours + theirs * offset, theirs * kept
            if step:
                seen = ours * (hidden @ hidden_to_first + bias_to_first) + theirs * seen
        sample = torch.addmm(offset * last.bias, total, last.weight.T)
        if kept:  # zero in every schedule of SPEC section 3: its last step keeps nothing of the row
            sample += kept * (x_0.dense(first.dtype) if start is None else start)
        return sample

    return sample
