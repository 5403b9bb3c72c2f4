"""Stage 1b: the language model learns to read a scene and to follow instructions, before it sees a picture.

A small T5 taught on text descriptions never learns to pick one of several objects.  So it reads what the Q-Former will
later give it: one vector for each cell.  Here such a scene vector is the sum of a colour, a kind, a size and a place,
each a linear map of the T5's own word embedding (its row plus its column word, for a place) plus a free vector; an empty
cell has a vector of its own, and so do the free queries.  Because the maps are shared by all words, "find the object the
question names" is one pattern to learn instead of one for each word.  The tables are thrown away in the end; stage 2
teaches the Q-Former to say the same vectors from the picture.

A small head, thrown away too, points from the encoder's states at the cells that the instruction is about.
"""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5ForConditionalGeneration

import model as pocket
from instructions import FINDING_MIX, MIX, NUMBERS, Example, mixed_example
from make_tokenizers import load as load_tokenizers
from quantization import train_with_rounding
from scenes import COLOR_NAMES, KINDS, PLACES, SIZES, random_scene, scene_to_grid
from training import Log, Stepper, common_options, save


class SceneVectors(nn.Module):
    """grids [batch, 9, 3] -> what the language model reads, [batch, queries, width]"""

    def __init__(self, tokenizer, shared: nn.Embedding):
        super().__init__()
        width = shared.embedding_dim

        def ids(words: list[str]) -> Tensor:
            rows = [tokenizer(w, add_special_tokens=False).input_ids for w in words]
            assert all(len(r) == 1 + w.count(" ") for r, w in zip(rows, words)), "a word of the scenes is not one piece"
            return torch.tensor([r if len(r) == 2 else r * 2 for r in rows])        # two words, or one twice

        for name, words in (("color", COLOR_NAMES), ("kind", KINDS), ("size", SIZES), ("place", PLACES), ("number", NUMBERS)):
            self.register_buffer(name + "_ids", ids(words))
            self.register_parameter(name + "_free", nn.Parameter(torch.randn(len(words), width) * 0.3))
            map_ = nn.Linear(width, width, bias=False)
            nn.init.eye_(map_.weight)
            with torch.no_grad():
                map_.weight.mul_(0.8).add_(torch.randn_like(map_.weight) * 0.3 * width ** -0.5)
            setattr(self, name + "_map", map_)
        self.empty = nn.Parameter(torch.randn(width) * 0.5)
        self.spare = nn.Parameter(torch.randn(pocket.QUERIES - pocket.CELLS, width) * 0.5)
        self.nothing = nn.Parameter(torch.randn(width) * 0.5)

    def table(self, name: str, shared: Tensor) -> Tensor:
        words = shared[getattr(self, name + "_ids")].mean(1)                         # [words, width]
        return getattr(self, name + "_map")(words) + getattr(self, name + "_free")

    def forward(self, grids: Tensor, hints: Tensor, shared: Tensor) -> Tensor:
        full = (grids[..., :1] > 0).float()
        at = (grids - 1).clamp_min(0)
        parts = sum(self.table(n, shared)[at[..., i]] for i, n in enumerate(("color", "kind", "size")))
        cells = self.table("place", shared) + full * parts + (1 - full) * self.empty              # [batch, 9, width]
        named = cells[torch.arange(len(cells))[:, None], hints[:, :2].clamp_min(0)]               # [batch, 2, width]
        named = torch.where(hints[:, :2, None] >= 0, named, self.nothing)
        number = self.table("number", shared)[hints[:, 2:].clamp_min(0)]                          # [batch, 1, width]
        number = torch.where(hints[:, 2:, None] >= 0, 2 * number, self.nothing)
        both = (hints[:, :2] >= 0).all(1)[:, None, None]
        number = torch.where(both, named[:, :1] - named[:, 1:], number)
        free = torch.cat([named, number], 1) + self.spare
        return torch.cat([cells, free], 1)


def pad(rows: list[list[int]], value: int) -> Tensor:
    n = max(map(len, rows))
    return torch.tensor([r + [value] * (n - len(r)) for r in rows])


class Batch:
    """Examples with their tokens, sorted by the answer's length so that parts of it pad little."""

    def __init__(self, scenes, examples: list[Example], tokenizer):
        self.examples, self.scenes = examples, scenes
        self.inputs = tokenizer([e.instruction for e in examples]).input_ids
        self.labels = tokenizer([e.answer for e in examples]).input_ids
        self.hints = torch.tensor([(e.focus, e.other, e.count) for e in examples])
        self.match = torch.tensor([[float(c in e.match) for c in range(pocket.CELLS)] for e in examples])
        self.grids = torch.from_numpy(np.stack([scene_to_grid(s) for s in scenes]))

    def parts(self, sizes=(0.5, 0.3, 0.2)) -> list[list[int]]:
        order = sorted(range(len(self.examples)), key=lambda i: (len(self.labels[i]), len(self.inputs[i])))
        cuts = np.cumsum([0, *sizes]) * len(order)
        return [order[int(round(a)):int(round(b))] for a, b in zip(cuts[:-1], cuts[1:])]


def draw_batch(rng: np.random.Generator, size: int, tokenizer, mix: np.ndarray = MIX) -> Batch:
    scenes = [random_scene(rng) for _ in range(size)]
    return Batch(scenes, [mixed_example(s, rng, mix=mix) for s in scenes], tokenizer)


def answer_loss(t5: T5ForConditionalGeneration, prefix: Tensor, inputs: list[list[int]], labels: list[list[int]]):
    """Cross-entropy of the answers after [prefix; instruction], each answer's sum over the root of its length, summed;
    which answers are right in every token (teacher-forced); and the encoder's mean state over each instruction."""
    ids, target = pad(inputs, 0), pad(labels, -100)
    mask = torch.cat([torch.ones(prefix.shape[:2], dtype=torch.long), (ids > 0).long()], 1)
    out = t5(inputs_embeds=torch.cat([prefix, t5.shared(ids)], 1), attention_mask=mask, decoder_input_ids=t5._shift_right(target))
    logits = out.logits.float()
    ce = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100, reduction="none").view(target.shape)
    weight = (target >= 0).sum(1).float() ** -0.5
    right = ((logits.argmax(-1) == target) | (target < 0)).all(1)
    words = (ids > 0).float().unsqueeze(-1)
    state = (out.encoder_last_hidden_state[:, prefix.shape[1]:].float() * words).sum(1) / words.sum(1) ** 0.5
    return (ce.sum(1) * weight).sum(), right, state


def main() -> None:
    p = common_options(__doc__, steps=3000, batch=128, lr=1e-3, seed=21, round_from=0.75)
    p.add_argument("--noise", type=float, default=0.2, help="deviation of the noise on scene vectors: the Q-Former's will not be exact")
    p.add_argument("--warmup", type=int, default=200)
    p.add_argument("--finding-steps", type=int, default=1500, help="steps that dwell on finding objects, before the plain mixture")
    p.add_argument("--hide", type=float, default=0.05, help="how often the free queries hold no hint")
    p.add_argument("--pointer-weight", type=float, default=0.5, help="weight of pointing at the cells an instruction is about")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    tokenizer, _ = load_tokenizers(args.run / "tokenizers")
    t5 = T5ForConditionalGeneration._from_config(pocket.text_config(len(tokenizer)), attn_implementation="eager")
    t5.config.dense_act_fn = "gelu"
    pocket.init_language(t5)
    vectors = SceneVectors(tokenizer, t5.shared)
    if args.resume:
        state = torch.load(args.resume)
        t5.load_state_dict(state["t5"])
        vectors.load_state_dict(state["vectors"], strict=False)
    pointers = nn.Linear(pocket.WIDTH, 2 * pocket.CELLS)
    if args.resume and "pointers" in state:
        pointers.load_state_dict(state["pointers"])
    stepper = Stepper([*t5.parameters(), *vectors.parameters(), *pointers.parameters()], args.steps, args.lr, warmup=args.warmup,
                      slow=[q for n, q in t5.named_parameters() if n.endswith(".q.weight")])
    log = Log(args.run / "language.jsonl", args.log_every)
    for step in range(1, args.steps + 1):
        if step == max(1, int(args.steps * args.round_from)):
            train_with_rounding(t5)
        batch = draw_batch(rng, args.batch, tokenizer, FINDING_MIX if step <= args.finding_steps else MIX)
        total, hits = 0.0, {}
        for part in batch.parts():
            with torch.autocast("cpu", torch.bfloat16):
                hidden = torch.rand(len(part), 1) < args.hide
                prefix = vectors(batch.grids[part], batch.hints[part].masked_fill(hidden, -1), t5.shared.weight)
                prefix = prefix + args.noise * torch.randn_like(prefix)
                loss, right, state = answer_loss(t5, prefix, [batch.inputs[i] for i in part], [batch.labels[i] for i in part])
            asked = batch.hints[part, :2]
            guess = pointers(state.float()).view(-1, 2, pocket.CELLS)
            point = F.cross_entropy(guess.flatten(0, 1), asked.flatten(), ignore_index=-1, reduction="sum")
            log.add(point=(guess.argmax(-1) == asked)[asked >= 0].float().mean() if (asked >= 0).any() else 0)
            loss = loss + args.pointer_weight * point
            (loss / args.batch).backward()
            total += loss.item() / args.batch
            for i, ok in zip(part, right.tolist()):
                hits.setdefault(batch.examples[i].data_set, []).append(ok)
        stepper.apply()
        log.add(loss=total, all=np.mean([x for h in hits.values() for x in h]), **{k: np.mean(h) for k, h in hits.items()})
        log.write(step, questions=step * args.batch)
        if step % args.save_every == 0 or step == args.steps:
            save(args.run / "language.pt", t5=t5.state_dict(), vectors=vectors.state_dict(), pointers=pointers.state_dict(), step=step)


if __name__ == "__main__":
    main()
