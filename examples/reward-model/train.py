"""Train a Bradley-Terry reward model on preference pairs, from any Hugging Face encoder or decoder.

    python train.py --base folder-or-name --pairs pairs.jsonl.gz --out run/mine

Loss: -log sigmoid(score(chosen) - score(rejected) - margin), with label smoothing, plus a term that
keeps scores near 0 (centring). Writes the model (Hugging Face format), the tokenizer, report.json
(accuracy on the validation split, also with length controlled) and calibration.json (mean and standard
deviation of the validation scores) to the folder --out."""

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import rm_roles
from hf_reward import HfReward, Texts, collate, score_all
from metrics import is_validation, report, show
from rm_text import read_pairs


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--base", required=True, help="folder or hub name of a model with tokenizer.json")
    p.add_argument("--pairs", nargs="+", required=True, help=".jsonl or .jsonl.gz files of pairs")
    p.add_argument("--out", required=True)
    p.add_argument("--epochs", type=float, default=2)
    p.add_argument("--batch", type=int, default=16, help="pairs per step")
    p.add_argument("--lr", type=float, default=2e-5)
    p.add_argument("--head-lr", type=float, default=2e-4)
    p.add_argument("--layer-decay", type=float, default=1.0, help="factor of the learning rate per layer, from the top down")
    p.add_argument("--weight-decay", type=float, default=0.01)
    p.add_argument("--warmup", type=float, default=0.1, help="share of the steps; then linear decay to 0")
    p.add_argument("--max-tokens", type=int, default=512)
    p.add_argument("--truncation", choices=("tokens", "messages"), default="tokens", help="of longer dialogues; as in the manifest")
    rm_roles.add_arguments(p)
    p.add_argument("--margin", type=float, default=0.0, help="weight of a pair's margin in the loss")
    p.add_argument("--margin-field", default="margin", help="key of the margin in a row (0 if missing)")
    p.add_argument("--center", type=float, default=0.01, help="weight of (chosen + rejected) squared")
    p.add_argument("--smooth", type=float, default=0.0, help="share of labels assumed flipped")
    p.add_argument("--ema", type=float, default=0.99, help="decay of the weight average per step; 0 disables it")
    p.add_argument("--seed", type=int, default=0)
    return p.parse_args()


def batches(lengths, size, rng):
    """Shuffled batches of similar length: sort inside chunks of 16 batches, then shuffle the batches."""
    order = list(range(len(lengths)))
    rng.shuffle(order)
    out = []
    for start in range(0, len(order), size * 16):
        chunk = sorted(order[start:start + size * 16], key=lengths.__getitem__)
        out += [chunk[i:i + size] for i in range(0, len(chunk), size)]
    rng.shuffle(out)
    return out


def layer_number(name):
    """The layer that a parameter is in, or None: "model.layers.3.mlp.up_proj.weight" -> 3."""
    return next((int(part) for part in name.split(".") if part.isdigit()), None)


def optimizer(reward, args):
    parameters = [(n, p) for n, p in reward.named_parameters() if p.requires_grad]
    top = max((layer_number(n) for n, _ in parameters if layer_number(n) is not None), default=0)
    groups = []
    for name, parameter in parameters:
        layer = layer_number(name)
        if any(part in ("score", "classifier", "head", "pooler") for part in name.split(".")):
            lr = args.head_lr
        else:
            below = top - layer if layer is not None else 0 if "final" in name else top + 1
            lr = args.lr * args.layer_decay ** below
        groups.append({"params": [parameter], "lr": lr, "weight_decay": args.weight_decay if parameter.ndim > 1 else 0.0})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))


def loss_of(chosen, rejected, margins, args):
    difference = chosen - rejected - args.margin * margins
    loss = -((1 - args.smooth) * F.logsigmoid(difference) + args.smooth * F.logsigmoid(-difference)).mean()
    return loss + args.center * (chosen + rejected).square().mean()


def validate(reward, rows, pairs, pad):
    reward.eval()
    chosen, rejected = (score_all(reward, [pair[side] for pair in pairs], pad) for side in (0, 1))
    reward.train()
    return report(rows, chosen, rejected)


def encoded(texts, rows):
    """-> (rows, their encodings), without rows that the chat template refuses"""
    found = [(row, pair) for row in rows if (pair := texts.pair(row))]
    if len(found) < len(rows):
        print(f"the chat template refuses {len(rows) - len(found)} of {len(rows)} pairs; they are left out", flush=True)
    return [row for row, _ in found], [pair for _, pair in found]


def main():
    args = arguments()
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    rows = read_pairs(args.pairs)
    train, valid = ([r for r in rows if is_validation(r) == side] for side in (False, True))
    texts = Texts(args.base, args.max_tokens, args.truncation, roles=rm_roles.of_arguments(args))
    (train, pairs), (valid, valid_pairs) = (encoded(texts, part) for part in (train, valid))
    margins = torch.tensor([float(r.get(args.margin_field, 0)) for r in train])
    lengths = [max(len(c.ids), len(r.ids)) for c, r in pairs]
    print(f"{len(train)} training pairs, {len(valid)} validation pairs", flush=True)

    reward = HfReward.load(args.base)
    opt = optimizer(reward, args)
    total = math.ceil(math.ceil(len(train) / args.batch) * args.epochs)
    warm = max(1, int(total * args.warmup))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        opt, lambda s: min((s + 1) / warm, max(0.0, (total - s) / max(1, total - warm))))
    average = {k: v.detach().clone() for k, v in reward.named_parameters()} if args.ema else {}
    reward.train()
    todo, losses, began = [], [], time.time()
    for step in range(1, total + 1):
        todo = todo or batches(lengths, args.batch, rng)
        batch = todo.pop()
        scores = reward(*collate([pairs[i][side] for side in (0, 1) for i in batch], texts.pad))[:, 0]
        loss = loss_of(*scores.chunk(2), margins[batch], args)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reward.parameters(), 1.0)
        opt.step()
        schedule.step()
        with torch.no_grad():
            for name, parameter in reward.named_parameters():
                if name in average:
                    average[name].lerp_(parameter, 1 - min(args.ema, step / (step + 10)))
        losses.append(loss.item())
        if step % 25 == 0 or step == total:
            recent = losses[-50:]
            print(f"step {step}/{total} loss {sum(recent) / len(recent):.4f} {step / (time.time() - began):.2f} steps/s", flush=True)

    reward.load_state_dict(average, strict=False)
    out = Path(args.out)
    reward.model.save_pretrained(out)
    texts.tokenizer.save_pretrained(out)
    info = {"args": vars(args), "steps": total, "seconds": round(time.time() - began)}
    if valid:
        info["validation"] = validate(reward, valid, valid_pairs, texts.pad)
        show(info["validation"])
        (out / "calibration.json").write_text(json.dumps(info["validation"]["calibration"], indent=1) + "\n")
    (out / "report.json").write_text(json.dumps(info, indent=1) + "\n")


if __name__ == "__main__":
    main()
