"""Training curves of the three stages as one small SVG, from the JSON lines that the stages write."""
from __future__ import annotations

import argparse
import json
from pathlib import Path

PANELS = [
    ("vision.jsonl", "vision tower: what each patch shows", ["color", "kind", "size", "all"]),
    ("language.jsonl", "language model on scene vectors", ["color", "where", "count", "relation", "next", "caption long", "all"]),
    ("qformer.jsonl", "Q-Former, whole model on pictures", ["focus", "match", "count", "relation", "next", "caption long", "all"]),
]
INK = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#222222"]
W, H, LEFT, TOP = 300, 190, 44, 34


def smooth(values: list[float], keep: float = 0.6) -> list[float]:
    out: list[float] = []
    for v in values:
        out.append(v if not out else keep * out[-1] + (1 - keep) * v)
    return out


def panel(rows: list[dict], title: str, names: list[str], x0: int) -> str:
    last = max(r["step"] for r in rows)
    parts = [f'<g transform="translate({x0 + LEFT},{TOP})" font-family="sans-serif" font-size="10">',
             f'<text x="0" y="-16" font-size="12">{title}</text>']
    for y in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<path d="M0 {H * (1 - y):.0f}H{W}" stroke="#ddd"/><text x="-6" y="{H * (1 - y) + 3:.0f}" text-anchor="end">{y}</text>')
    parts.append(f'<text x="{W}" y="{H + 14}" text-anchor="end">{last} steps</text>')
    for i, name in enumerate(names):
        points = [(r["step"], r[name]) for r in rows if name in r]
        if not points:
            continue
        line = " ".join(f"{W * s / last:.1f},{H * (1 - v):.1f}" for (s, _), v in zip(points, smooth([v for _, v in points])))
        color = INK[-1] if name == "all" else INK[i]
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="{2 if name == "all" else 1.2}"/>')
        parts.append(f'<text x="{W - 74}" y="{H - 10 - 12 * (len(names) - 1 - i)}" fill="{color}">{name}</text>')
    return "\n".join(parts) + "</g>"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--run", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True, help="SVG file")
    p.add_argument("--points", type=int, default=80, help="at most this many points a curve")
    args = p.parse_args()
    drawn = []
    for i, (file, title, names) in enumerate(PANELS):
        rows = [json.loads(line) for line in (args.run / file).read_text().splitlines()]
        rows = rows[::max(1, len(rows) // args.points)]
        drawn.append(panel(rows, title, names, i * (W + LEFT + 20)))
    width, height = len(PANELS) * (W + LEFT + 20), TOP + H + 24
    args.out.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
                        f'<rect width="{width}" height="{height}" fill="white"/>\n' + "\n".join(drawn) + "\n</svg>\n")


if __name__ == "__main__":
    main()
