"""Stage 1a: the vision tower learns to say, at every patch, what the cell around it holds.

Three linear heads (colour, kind, size) on each patch's last hidden state; they are thrown away afterwards.  Pictures hold
up to nine objects, so each teaches much.  Held-out colour-shape pairs are left out.
"""
from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import InstructBlipVisionModel

import model as pocket
from quantization import train_with_rounding
from scenes import COLOR_NAMES, GRID, IMAGE_SIZE, KINDS, SIZES, Painter, crowded_grids
from training import Log, Stepper, common_options, save

PARTS = (len(COLOR_NAMES) + 1, len(KINDS) + 1, len(SIZES) + 1)   # class zero: nothing there


def patch_cells() -> torch.Tensor:
    """The cell that each patch lies in, [patches]."""
    side = IMAGE_SIZE // pocket.PATCH
    c = torch.arange(side) * GRID // side
    return (c[:, None] * GRID + c[None]).reshape(-1)


def main() -> None:
    args = common_options(__doc__, steps=6000, batch=96, lr=2e-3, seed=11, round_from=0.6).parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    painter = Painter(seed=args.seed, cache=args.run / "masks.npy")
    vision = InstructBlipVisionModel._from_config(pocket.vision_config(), attn_implementation="eager")
    pocket.init_vision(vision)
    heads = nn.Linear(pocket.WIDTH, sum(PARTS))
    if args.resume:
        state = torch.load(args.resume)
        vision.load_state_dict(state["vision"])
        heads.load_state_dict(state["heads"])
    stepper = Stepper([*vision.parameters(), *heads.parameters()], args.steps, args.lr)
    log = Log(args.run / "vision.jsonl", args.log_every)
    cells = patch_cells()
    for step in range(1, args.steps + 1):
        if step == max(1, int(args.steps * args.round_from)):
            train_with_rounding(vision)
        grids = crowded_grids(rng, args.batch)
        x = pocket.pixels_to_tensor(painter.paint(grids, rng))
        labels = torch.from_numpy(grids)[:, cells]                       # [batch, patches, 3]
        with torch.autocast("cpu", torch.bfloat16):
            hidden = vision(pixel_values=x).last_hidden_state[:, 1:]     # [batch, patches, width]
        scores = heads(hidden.float()).split(PARTS, -1)
        losses = [F.cross_entropy(s.flatten(0, 1), labels[..., i].flatten()) for i, s in enumerate(scores)]
        sum(losses).backward()
        stepper.apply()
        with torch.no_grad():
            full = labels[..., 0] > 0
            right = [s.argmax(-1) == labels[..., i] for i, s in enumerate(scores)]
            log.add(loss=sum(losses).item(), color=right[0][full].float().mean(), kind=right[1][full].float().mean(),
                    size=right[2][full].float().mean(), empty=right[0][~full].float().mean(),
                    all=(right[0] & right[1] & right[2])[full].float().mean())
        log.write(step, pictures=step * args.batch)
        if step % args.save_every == 0 or step == args.steps:
            save(args.run / "vision.pt", vision=vision.state_dict(), heads=heads.state_dict(), step=step)


if __name__ == "__main__":
    main()
