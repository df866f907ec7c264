"""Makes golden.json: quantised weights and their gradients by automatic differentiation in float64.

Each method is written here as its paper has it, independently of the program, with straight-through estimators that
PyTorch differentiates. Numbers that the program learns as logarithms to base two are learned as such here too.

    python -m venv env; env/bin/pip install torch numpy; env/bin/python make.py
"""

import json
from pathlib import Path

import numpy as np
import torch


def straight(forward, backward):
    """`forward` in the forward pass, the gradient of `backward` in the backward pass."""
    return backward + (forward - backward).detach()


def lsq(bits):
    """Esser et al. 2020, section 2 and algorithm 1."""

    def quantise(w, learned):
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        step = torch.exp2(learned[0])
        scale = 1 / np.sqrt(w.numel() * high)
        step = straight(step, step * scale)
        clipped = torch.clamp(w / step, low, high)
        return straight(torch.round(clipped), clipped) * step

    return quantise, lambda w: [np.log2(2 * np.abs(w).mean() / np.sqrt(2 ** (bits - 1) - 1)), 0.0]


def binary(power_of_two):
    """Rastegari et al. 2016, section 3.1; the magnitude is a constant in the backward pass."""

    def quantise(w, learned):
        size = w.abs().mean()
        if power_of_two:
            size = torch.exp2(torch.round(torch.log2(size)))
        return straight(size * torch.sign(w), w)

    return quantise, lambda w: [0.0, 0.0]


def twn(w, learned):
    """Li et al. 2016, equations 5 and 6."""
    beyond = w.abs() > 0.7 * w.abs().mean()
    size = w.abs()[beyond].mean()
    return straight(torch.where(beyond, size * torch.sign(w), torch.zeros_like(w)), w)


def ttq(w, learned):
    """Zhu et al. 2017, equations 6 to 8: gradients of weights are scaled by the magnitudes of weights divided by the largest."""
    largest = w.abs().max().detach()
    threshold = 0.05 * largest
    p, n = torch.exp2(learned[0]), torch.exp2(learned[1])
    above, below = (w > threshold).double(), (w < -threshold).double()
    magnitudes = p * above - n * below
    factor = (p / largest * above + n / largest * below + (1 - above - below)).detach()
    carried = factor * w
    return magnitudes + (carried - carried.detach())


def deepshift(bits):
    """Elhoushi et al. 2021, section 3.1."""

    def quantise(w, learned):
        shift = torch.round(torch.log2(w.abs() + 1e-6)).clamp(-(2 ** (bits - 1) - 1), 0)
        return straight(torch.sign(w) * torch.exp2(shift), w)

    return quantise


def inq(bits):
    """The levels of Zhou et al. 2017, equations 1 to 4, by looking at every one of them."""

    def quantise(w, learned):
        n1 = int(np.floor(np.log2(4 * w.abs().max().item() / 3)))
        n2 = n1 + 1 - 2 ** (bits - 1) // 2
        sizes = [0.0] + [2.0**n for n in range(n2, n1 + 1)]
        q = torch.zeros_like(w)
        for low, high in zip(sizes, sizes[1:]):
            q = torch.where(w.abs() >= (low + high) / 2, torch.sign(w) * high, q)
        return straight(q, w)

    return quantise


def codebook(sizes):
    """Li et al. 2020, section 2: projection on a codebook below a clip that learns by equation 8."""
    sizes = torch.tensor(sorted(sizes), dtype=torch.float64)
    sizes = sizes / sizes.max()

    def quantise(w, learned):
        clip = torch.exp2(learned[0])
        v = w / clip
        nearest = sizes[(v.abs()[:, None] - sizes[None, :]).abs().argmin(dim=1)]
        q = torch.sign(v) * nearest
        # Weights take the gradient as it is, the clip takes that of equation 8.
        inside = v.abs() < 1
        per_clip = torch.where(inside, q - v, torch.sign(v)).detach()
        value = (clip * q).detach()
        return value + (w - w.detach()) + per_clip * (clip - clip.detach())

    return quantise, lambda w: [np.log2(3 * np.abs(w).mean() * np.sqrt(np.pi / 2)), 0.0]


def powers(count):
    return [0.0] + [2.0**-n for n in range(count)]


def sums(first, second):
    return [a + b for a in first for b in second]


NOTHING = lambda w: [0.0, 0.0]
METHODS = {
    "lsq:2": lsq(2),
    "lsq:3": lsq(3),
    "lsq:4": lsq(4),
    "lsq:8": lsq(8),
    "binary": binary(False),
    "binary-pot": binary(True),
    "twn": (twn, NOTHING),
    "ttq": (ttq, lambda w: [np.log2(np.abs(w).mean())] * 2),
    "deepshift:2": (deepshift(2), NOTHING),
    "deepshift:3": (deepshift(3), NOTHING),
    "deepshift:4": (deepshift(4), NOTHING),
    "deepshift:5": (deepshift(5), NOTHING),
    "inq:3": (inq(3), NOTHING),
    "inq:4": (inq(4), NOTHING),
    "inq:5": (inq(5), NOTHING),
    "pot:2": codebook(powers(1)),
    "pot:3": codebook(powers(3)),
    "pot:4": codebook(powers(7)),
    "apot:4": codebook(sums([0, 1 / 2, 1 / 4, 1 / 16], [0, 1 / 8])),
    "apot:5": codebook(sums([0, 1 / 2, 1 / 8, 1 / 32], [0, 1 / 4, 1 / 16, 1 / 64])),
}


def main():
    random = np.random.default_rng(7)
    records = []
    for name, (quantise, start) in METHODS.items():
        for count, deviation in [(40, 0.2), (15, 0.02)]:
            weights = random.normal(0, deviation, count)
            weights[3] = 0.0
            begins = start(weights)
            learned = np.array([b + random.normal(0, 0.3) if b != 0 else 0.0 for b in begins])
            d_q = random.normal(0, 1, count)
            w = torch.tensor(weights, requires_grad=True)
            l = torch.tensor(learned, requires_grad=True)
            q = quantise(w, l)
            (torch.tensor(d_q) * q).sum().backward()
            d_learned = [0.0, 0.0] if l.grad is None else l.grad.tolist()
            records.append(
                {
                    "quantiser": name,
                    "weights": weights.tolist(),
                    "start": [float(b) for b in begins],
                    "learned": learned.tolist(),
                    "d_q": d_q.tolist(),
                    "q": q.detach().tolist(),
                    "d_w": w.grad.tolist(),
                    "d_learned": d_learned,
                }
            )
    path = Path(__file__).with_name("golden.json")
    lines = ",\n".join(json.dumps(record) for record in records)
    path.write_text(f"[\n{lines}\n]\n")


main()
