"""What the three training stages share: learning-rate schedule, log, and the common command-line options."""
from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch


def common_options(description: str, steps: int, batch: int, lr: float, seed: int, round_from: float) -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=description.replace("%", "%%"), formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--run", type=Path, required=True, help="folder for tokenizers, checkpoints and logs")
    p.add_argument("--steps", type=int, default=steps)
    p.add_argument("--batch", type=int, default=batch)
    p.add_argument("--lr", type=float, default=lr, help="highest learning rate")
    p.add_argument("--seed", type=int, default=seed)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--round-from", type=float, default=round_from, help="train with weights rounded to 4 bits from this part of the run on")
    p.add_argument("--log-every", type=int, default=50)
    p.add_argument("--save-every", type=int, default=500)
    p.add_argument("--resume", type=Path, help="start from this checkpoint's weights")
    return p


def learning_rate(step: int, steps: int, top: float, warmup: int = 100) -> float:
    """Linear warm-up, then a cosine down to a fiftieth."""
    return top * min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))


class Stepper:
    """AdamW with the schedule above and clipped gradients; one `apply()` a training step.

    `slow` parameters take steps a fifth as long: T5's attention has no 1/sqrt(d), its query weights are that much
    smaller, and Adam's steps do not know it.
    """

    def __init__(self, parameters, steps: int, lr: float, warmup: int = 100, weight_decay: float = 0.01, slow=()):
        self.parameters = [p for p in parameters if p.requires_grad]
        few = {id(p) for p in slow}
        groups = [{"params": [p for p in self.parameters if id(p) not in few], "factor": 1.0},
                  {"params": [p for p in self.parameters if id(p) in few], "factor": 0.2}]
        self.optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=(0.9, 0.98), weight_decay=weight_decay)
        self.count, self.steps, self.lr, self.warmup = 0, steps, lr, warmup

    def apply(self) -> None:
        """One update from the gradients accumulated so far."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.count, self.steps, self.lr, self.warmup) * group["factor"]
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.count += 1


class Log:
    """Running means, written as JSON lines."""

    def __init__(self, path: Path, every: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file, self.every, self.start = open(path, "w"), every, time.time()
        self.sums: dict[str, list[float]] = {}

    def add(self, **values: float) -> None:
        for k, v in values.items():
            s = self.sums.setdefault(k, [0.0, 0])
            s[0] += float(v)
            s[1] += 1

    def write(self, step: int, force: bool = False, **extra) -> None:
        if step % self.every and not force:
            return
        row = {"step": step, "seconds": round(time.time() - self.start), **extra,
               **{k: round(s / max(n, 1), 4) for k, (s, n) in sorted(self.sums.items())}}
        self.sums = {}
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()
        print(json.dumps(row), flush=True)


def save(path: Path, **state) -> None:
    """Writes to a temporary name first: a reader never sees half a file."""
    tmp = path.with_suffix(".tmp")
    torch.save(state, tmp)
    tmp.rename(path)
