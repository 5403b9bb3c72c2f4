"""Stage 2: vision tower and language model frozen, the Q-Former, its queries and the projection learn on instructions.

First, for some steps, towards the scene vectors of stage 1b alone: query i should say what cell i holds.  Then through
the frozen language model on instructions, with the scene vectors as a small additional target.  The free
queries hold what the instruction is about, and a small loss on their last cross-attention asks them to look there.
Another, through a head that is thrown away, asks each cell's query whether its object fits what the instruction names.
"""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import model as pocket
from instructions import FINDING_MIX, MIX, mixed_example
from make_tokenizers import load as load_tokenizers
from quantization import train_with_rounding
from scenes import Painter, random_scene
from train_language import Batch, SceneVectors, answer_loss, pad
from train_vision import patch_cells
from training import Log, Stepper, common_options, save

LAST_CROSS_ATTENTION = 2   # layers 0 and 2 attend to the picture


class Reader(torch.nn.Module):
    """Pictures and BERT-style ids -> projected queries; keeps the last cross-attention and the states after it for auxiliary losses."""

    def __init__(self, full):
        super().__init__()
        self.full = full
        self.attention: Tensor | None = None
        self.state: Tensor | None = None
        layer = full.qformer.encoder.layer[LAST_CROSS_ATTENTION].crossattention.attention
        layer.register_forward_hook(lambda _m, _i, out: setattr(self, "attention", out[1]))
        full.qformer.encoder.layer[LAST_CROSS_ATTENTION].register_forward_hook(
            lambda _m, _i, out: setattr(self, "state", out))

    def forward(self, features: Tensor, ids: list[list[int]]) -> Tensor:
        text = pad(ids, 0)
        b, n = len(text), pocket.QUERIES
        mask = torch.cat([torch.ones(b, n, dtype=torch.long), (text > 0).long()], 1)
        out = self.full.qformer(input_ids=text, attention_mask=mask, query_embeds=self.full.query_tokens.expand(b, -1, -1),
                                encoder_hidden_states=features).last_hidden_state[:, :n]
        return self.full.language_projection(out)


def main() -> None:
    p = common_options(__doc__, steps=4500, batch=128, lr=1.2e-3, seed=31, round_from=0.85)
    p.add_argument("--distil-steps", type=int, default=3000, help="steps towards the scene vectors alone, before the instructions")
    p.add_argument("--distil-weight", type=float, default=1.0, help="weight of the scene vectors' loss afterwards")
    p.add_argument("--focus-weight", type=float, default=0.1)
    p.add_argument("--match-weight", type=float, default=1.0)
    p.add_argument("--finding-steps", type=int, default=3700, help="steps that dwell on finding objects, before the plain mixture")
    p.add_argument("--per-picture", type=int, default=2, help="instructions for each picture")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    t5_tokenizer, bert = load_tokenizers(args.run / "tokenizers")
    full = pocket.build(len(t5_tokenizer), len(bert), t5_tokenizer.convert_tokens_to_ids("<image>"), args.seed)
    full.vision_model.load_state_dict(torch.load(args.run / "vision.pt")["vision"])
    language = torch.load(args.run / "language.pt")
    full.language_model.load_state_dict(language["t5"])
    vectors = SceneVectors(t5_tokenizer, full.language_model.shared)
    vectors.load_state_dict(language["vectors"])
    for part in (full.vision_model, full.language_model, vectors):
        part.requires_grad_(False)
    shared = full.language_model.shared.weight
    if args.resume:
        full.load_state_dict(torch.load(args.resume)["qformer"], strict=False)
    own = [n for n, q in full.named_parameters() if q.requires_grad]
    matcher = torch.nn.Linear(pocket.WIDTH, 1)
    stepper = Stepper([*full.parameters(), *matcher.parameters()], args.steps, args.lr)
    reader, painter = Reader(full), Painter(seed=args.seed, cache=args.run / "masks.npy")
    log, cells = Log(args.run / "qformer.jsonl", args.log_every), patch_cells()
    spread = vectors(torch.zeros(1, 9, 3, dtype=torch.long), torch.full((1, 3), -1), shared).var().item()

    for step in range(1, args.steps + 1):
        if step == max(1, int(args.steps * args.round_from)):
            train_with_rounding(full)
        through_language = step > args.distil_steps
        repeat = args.per_picture if through_language else 1
        mix = FINDING_MIX if step <= args.finding_steps else MIX
        scenes = [random_scene(rng) for _ in range(args.batch // repeat)]
        scenes = [s for s in scenes for _ in range(repeat)]
        batch = Batch(scenes, [mixed_example(s, rng, mix=mix) for s in scenes], t5_tokenizer)
        bert_ids = bert([e.instruction for e in batch.examples]).input_ids
        pictures = painter.paint(batch.grids[::repeat].numpy(), rng)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            features = full.vision_model(pixel_values=pocket.pixels_to_tensor(pictures)).last_hidden_state.float()
            target = vectors(batch.grids, batch.hints, shared).float()
        features = features.repeat_interleave(repeat, 0)
        hits: dict[str, list[bool]] = {}
        for part in (batch.parts() if through_language else [list(range(len(scenes)))]):
            with torch.autocast("cpu", torch.bfloat16):
                prefix = reader(features[part], [bert_ids[i] for i in part])
                distil = F.mse_loss(prefix.float(), target[part]) / spread
                # the first two free queries' attention inside the cells they should look at, [part, 2]
                seen = reader.attention[:, :, pocket.CELLS:pocket.CELLS + 2, 1:].float().mean(1)
                mass = (seen * (cells == batch.hints[part, :2, None])).sum(-1)
                asked = (batch.hints[part, :2] >= 0).float()
                look = -(torch.log(mass + 1e-4) * asked).sum() / len(scenes)
                # does the object in my cell fit what is asked for?
                fits = matcher(reader.state[:, :pocket.CELLS].float()).squeeze(-1)
                matching = F.binary_cross_entropy_with_logits(fits, batch.match[part]) * len(part) / len(scenes)
                share = len(part) / len(scenes) * (args.distil_weight if through_language else 1.0)
                loss = args.match_weight * matching + args.focus_weight * look + share * distil
                if through_language:
                    answers, right, _ = answer_loss(full.language_model, prefix, [batch.inputs[i] for i in part],
                                                    [batch.labels[i] for i in part])
                    loss = loss + answers / len(scenes)
                    log.add(answer_loss=answers.item() / len(part))
                    for i, ok in zip(part, right.tolist()):
                        hits.setdefault(batch.examples[i].data_set, []).append(ok)
            loss.backward()
            log.add(distil=distil.item(), number=F.mse_loss(prefix[:, -1].float(), target[part][:, -1]).item() / spread,
                    match=((fits > 0).float() == batch.match[part]).all(1).float().mean(),
                    focus=(mass * asked).sum().item() / max(1.0, asked.sum().item()))
        stepper.apply()
        if hits:
            log.add(all=np.mean([x for h in hits.values() for x in h]), **{k: np.mean(h) for k, h in hits.items()})
        log.write(step, questions=step * args.batch)
        if step % args.save_every == 0 or step == args.steps:
            state = full.state_dict()
            save(args.run / "qformer.pt", qformer={n: state[n] for n in own}, step=step)


if __name__ == "__main__":
    main()
