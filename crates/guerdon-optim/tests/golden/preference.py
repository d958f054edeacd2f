"""Writes preference.json: the losses of preferences and their gradients by torch's autograd, in f64.

    python crates/guerdon-optim/tests/golden/preference.py      # torch 2; any version

The formulas are those of the papers, written with torch's own functions (logsigmoid, log1p), and not those
of the crate.
"""
import json
import pathlib

import torch
import torch.nn.functional as F

ROWS, WIDTH = 8, 5
LENS = [5, 3, 4, 5, 2, 1, 3, 4]


def main():
    generator = torch.Generator().manual_seed(24)
    draw = lambda: -3.0 * torch.rand((ROWS, WIDTH), generator=generator, dtype=torch.float64) - 0.02
    logp, reference = draw(), draw()
    mask = (torch.arange(WIDTH)[None] < torch.tensor(LENS)[:, None]).to(torch.float64)
    mask[3, 1] = 0.0  # a gap
    desirable = torch.tensor([1, 0, 0, 1, 1, 0, 1, 0], dtype=torch.float64)
    counts = mask.sum(1)

    def sums(x):
        return (x * mask).sum(1)

    def pairs(scores):
        return scores[0::2], scores[1::2]

    def dpo(x, smoothing=0.0):
        chosen, rejected = pairs(sums(x) - sums(reference))
        z = 0.1 * (chosen - rejected)
        return (-(1 - smoothing) * F.logsigmoid(z) - smoothing * F.logsigmoid(-z)).mean()

    def ipo(x, mean):
        chosen, rejected = pairs((sums(x) - sums(reference)) / (counts if mean else 1.0))
        return ((chosen - rejected - 1 / (2 * 0.1)) ** 2).mean()

    def simpo(x):
        chosen, rejected = pairs(sums(x) / counts)
        return -F.logsigmoid(2.0 * (chosen - rejected) - 0.5).mean()

    def orpo(x):
        chosen, rejected = pairs(sums(x) / counts)
        odds = (chosen - rejected) - (torch.log1p(-torch.exp(chosen)) - torch.log1p(-torch.exp(rejected)))
        return (-chosen - 0.1 * F.logsigmoid(odds)).mean()

    def kto(x):
        r = sums(x) - sums(reference)
        good, bad = 1 - torch.sigmoid(0.1 * (r - 0.25)), 1 - torch.sigmoid(0.1 * (0.25 - r))
        return torch.where(desirable > 0, good, 1.5 * bad).mean()

    losses = {
        "dpo": dpo,
        "cdpo": lambda x: dpo(x, 0.1),
        "ipo": lambda x: ipo(x, False),
        "ipo_mean": lambda x: ipo(x, True),
        "simpo": simpo,
        "orpo": orpo,
        "kto": kto,
        "sft": lambda x: -sums(x).sum() / mask.sum(),
    }
    outputs = {}
    for name, loss in losses.items():
        x = logp.clone().requires_grad_()
        value = loss(x)
        value.backward()
        outputs[name] = {"loss": value.item(), "grad": x.grad.flatten().tolist()}
    flat = lambda x: x.flatten().tolist()
    data = {
        "logp": flat(logp),
        "reference": flat(reference),
        "mask": flat(mask),
        "desirable": flat(desirable),
        "outputs": outputs,
    }
    file = pathlib.Path(__file__).with_suffix(".json")
    file.write_text(json.dumps(data) + "\n")
    print(f"wrote {file} with {len(outputs)} losses")


if __name__ == "__main__":
    main()
