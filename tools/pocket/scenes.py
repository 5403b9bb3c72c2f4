"""Scenes: what can be in a picture, how a scene is drawn, which scenes are drawn at random.

A picture is a grid of three by three cells.  A cell is empty or holds one object: a shape, a digit or a capital
letter in one of eight colours, small or big, somewhere in its cell.  A scene is the list of its objects in reading order.

Drawing has two forms with the same geometry.  `draw` renders one scene at any resolution with Pillow.  `Painter` renders
batches for training: it cuts every (kind, size) many times at the model's resolution, each with its own place in the
cell, angle, width and resampling filter, keeps these masks, and composes pictures from them with numpy alone.
"""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLORS = {
    "red": (220, 40, 40), "green": (30, 150, 50), "blue": (45, 75, 225), "yellow": (245, 220, 40),
    "purple": (145, 50, 175), "orange": (245, 135, 25), "black": (20, 20, 20), "white": (250, 250, 250),
}
SHAPES = ["circle", "square", "triangle", "cross", "star", "heart"]
DIGITS = list("0123456789")
LETTERS = list("ACEHKMRT")
SIZES = ["small", "big"]
PLACES = ["top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right"]
COLOR_NAMES = list(COLORS)
KINDS = SHAPES + DIGITS + LETTERS
GRID = 3
MAX_OBJECTS = 5
BACKGROUNDS = [(128, 128, 128), (165, 170, 178), (188, 178, 158), (142, 160, 145), (112, 122, 140)]

IMAGE_SIZE = 96            # pixels the model sees
CELL = IMAGE_SIZE // GRID  # 32

# Colour-shape pairs that no training picture, question or answer contains.
HELD_OUT = {("red", "cross"), ("blue", "triangle"), ("yellow", "circle"), ("green", "square"), ("purple", "star"),
            ("orange", "heart")}


class Obj(NamedTuple):
    """One object: indices into COLOR_NAMES, KINDS, SIZES, PLACES."""
    color: int
    kind: int
    size: int
    cell: int

    @property
    def row(self) -> int:
        return self.cell // GRID

    @property
    def column(self) -> int:
        return self.cell % GRID


Scene = list[Obj]


def is_held_out(color: int, kind: int) -> bool:
    return (COLOR_NAMES[color], KINDS[kind]) in HELD_OUT


def random_kind(rng: np.random.Generator) -> int:
    """Shapes two times in three, else a digit or a letter."""
    u = rng.random()
    if u < 0.6:
        return int(rng.integers(len(SHAPES)))
    if u < 0.8:
        return len(SHAPES) + int(rng.integers(len(DIGITS)))
    return len(SHAPES) + len(DIGITS) + int(rng.integers(len(LETTERS)))


def random_scene(rng: np.random.Generator, held_out: bool = False, count: int | None = None) -> Scene:
    """A scene of `count` (else 0 to 5, mostly 2 to 5) objects.

    `held_out` false: no held-out pair occurs; true: at least one occurs.  Half of the scenes draw colours or kinds from a
    small palette, so that things repeat and counting, comparing and referring are worth asking about.
    """
    n = count if count is not None else int(rng.choice(MAX_OBJECTS + 1, p=[0.02, 0.10, 0.20, 0.26, 0.23, 0.19]))
    while True:
        cells = sorted(rng.choice(GRID * GRID, n, replace=False).tolist())
        colors = rng.integers(len(COLOR_NAMES), size=3 if rng.random() < 0.35 else 16)
        kinds = [random_kind(rng) for _ in range(2 if rng.random() < 0.3 else 6)]
        scene = [Obj(int(colors[rng.integers(len(colors))]), kinds[rng.integers(len(kinds))], int(rng.integers(2)), c)
                 for c in cells]
        held = [is_held_out(o.color, o.kind) for o in scene]
        if held_out and not any(held):
            if not scene:
                return scene
            name, kind = sorted(HELD_OUT)[rng.integers(len(HELD_OUT))]
            i = int(rng.integers(len(scene)))
            scene[i] = scene[i]._replace(color=COLOR_NAMES.index(name), kind=KINDS.index(kind))
            return scene
        if held_out or not any(held):
            return scene


def scene_to_grid(scene: Scene) -> np.ndarray:
    """int [9, 3]: colour, kind and size of every cell, each plus one; zero where the cell is empty."""
    grid = np.zeros((GRID * GRID, 3), np.int64)
    for o in scene:
        grid[o.cell] = (o.color + 1, o.kind + 1, o.size + 1)
    return grid


def crowded_grids(rng: np.random.Generator, batch: int) -> np.ndarray:
    """int [batch, 9, 3]: grids with any number of cells filled, for teaching the vision tower."""
    shape = (batch, GRID * GRID)
    color, size = rng.integers(1, len(COLOR_NAMES) + 1, shape), rng.integers(1, 3, shape)
    kind = np.where(rng.random(shape) < 0.35, rng.integers(1, len(SHAPES) + 1, shape),
                    rng.integers(len(SHAPES) + 1, len(KINDS) + 1, shape))
    full = rng.random(shape) < rng.uniform(0.3, 1.0, (batch, 1))
    table = np.zeros((len(COLOR_NAMES) + 1, len(KINDS) + 1), bool)
    for name, shape_name in HELD_OUT:
        table[COLOR_NAMES.index(name) + 1, KINDS.index(shape_name) + 1] = True
    full &= ~table[color, kind]
    return np.stack([color, kind, size], -1) * full[..., None]


# ---- drawing ---------------------------------------------------------------------------------------------------------

class Pose(NamedTuple):
    """How an object sits in its cell, in units of the cell's side."""
    x: float = 0.5          # centre
    y: float = 0.5
    side: float = 0.86      # of its bounding square
    stretch: float = 1.0    # width over height
    angle: float = 0.0      # degrees
    stroke: float = 0.02    # extra thickness of glyph strokes


def random_pose(rng: np.random.Generator, size: int) -> Pose:
    side = rng.uniform(0.80, 0.90) if size else rng.uniform(0.48, 0.56)
    slack = max(0.0, 0.5 - side / 2 - 0.02)
    return Pose(0.5 + rng.uniform(-slack, slack), 0.5 + rng.uniform(-slack, slack), side, rng.uniform(0.92, 1.08),
                rng.uniform(-5, 5), rng.uniform(0.0, 0.035))


def _outline(kind: str) -> list[tuple[float, float]]:
    """Polygon of a shape in the unit square, y down."""
    t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    if kind == "circle":
        return [(0.5 + 0.5 * np.cos(a), 0.5 + 0.5 * np.sin(a)) for a in t]
    if kind == "square":
        return [(0.05, 0.05), (0.95, 0.05), (0.95, 0.95), (0.05, 0.95)]
    if kind == "triangle":
        return [(0.5, 0.03), (1.0, 0.95), (0.0, 0.95)]
    if kind == "cross":
        a, b = 0.33, 0.67
        return [(a, 0), (b, 0), (b, a), (1, a), (1, b), (b, b), (b, 1), (a, 1), (a, b), (0, b), (0, a), (a, a)]
    if kind == "star":
        r = [0.54 if i % 2 == 0 else 0.22 for i in range(10)]
        return [(0.5 + r[i] * np.sin(i * np.pi / 5), 0.53 - r[i] * np.cos(i * np.pi / 5)) for i in range(10)]
    x, y = 16 * np.sin(t) ** 3, 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)   # heart
    return [(0.5 + p / 33, 0.46 - q / 31) for p, q in zip(x, y)]


def draw_mask(kind: str, pose: Pose, pixels: int) -> Image.Image:
    """Coverage (L, 0 to 255) of one object in a cell of pixels x pixels, drawn at four times that and averaged down."""
    n = pixels * 4
    side = pose.side * n
    cos, sin = np.cos(np.radians(pose.angle)), np.sin(np.radians(pose.angle))
    if kind in SHAPES:
        im = Image.new("L", (n, n), 0)
        corners = []
        for u, v in _outline(kind):
            u, v = (u - 0.5) * side * pose.stretch, (v - 0.5) * side
            corners.append((pose.x * n + cos * u - sin * v, pose.y * n + sin * u + cos * v))
        ImageDraw.Draw(im).polygon(corners, fill=255)
    else:
        font = ImageFont.load_default(side * 1.25)
        width = max(0, round(pose.stroke * side))
        box = font.getbbox(kind, stroke_width=width)
        w, h = box[2] - box[0], box[3] - box[1]
        glyph = Image.new("L", (int(w) + 2, int(h) + 2), 0)
        ImageDraw.Draw(glyph).text((1 - box[0], 1 - box[1]), kind, font=font, fill=255, stroke_width=width, stroke_fill=255)
        scale = side / h
        glyph = glyph.resize((max(1, round(w * scale * pose.stretch)), max(1, round(side))), Image.BICUBIC)
        glyph = glyph.rotate(-pose.angle, Image.BICUBIC, expand=True)
        im = Image.new("L", (n, n), 0)
        im.paste(glyph, (round(pose.x * n - glyph.width / 2), round(pose.y * n - glyph.height / 2)))
    return im.resize((pixels, pixels), Image.BOX)


def draw(scene: Scene, rng: np.random.Generator, pixels: int = IMAGE_SIZE, noise: float = 0.0) -> Image.Image:
    """One scene as a picture of pixels x pixels (a multiple of three)."""
    cell = pixels // GRID
    a = np.empty((pixels, pixels, 3), np.float32)
    a[:] = np.array(BACKGROUNDS[rng.integers(len(BACKGROUNDS))]) + rng.uniform(-6, 6)
    for o in scene:
        m = np.asarray(draw_mask(KINDS[o.kind], random_pose(rng, o.size), cell), np.float32)[..., None] / 255
        ink = np.array(COLORS[COLOR_NAMES[o.color]], np.float32)
        view = a[o.row * cell:(o.row + 1) * cell, o.column * cell:(o.column + 1) * cell]
        view[:] = view * (1 - m) + ink * m
    a += rng.normal(0, noise, a.shape) if noise else 0
    return Image.fromarray(np.clip(a + 0.5, 0, 255).astype(np.uint8))


class Painter:
    """Draws batches of grids quickly from a bank of masks; the bank is kept in `cache` if a path is given."""

    def __init__(self, seed: int, variants: int = 96, cache: Path | None = None):
        if cache is not None and cache.exists():
            self.bank = np.load(cache)
        else:
            self.bank = self._cut(np.random.default_rng(seed), variants)
            if cache is not None:
                cache.parent.mkdir(parents=True, exist_ok=True)
                np.save(cache, self.bank)
        self.variants = self.bank.shape[2]
        self.inks = np.array([(0, 0, 0), *COLORS.values()], np.float32)

    @staticmethod
    def _cut(rng: np.random.Generator, variants: int) -> np.ndarray:
        """u8 [kinds + 1, sizes + 1, variants, 32, 32]; index zero is the empty cell."""
        bank = np.zeros((len(KINDS) + 1, len(SIZES) + 1, variants, CELL, CELL), np.uint8)
        filters = [Image.BOX, Image.BICUBIC, Image.BILINEAR, Image.LANCZOS]
        for k, kind in enumerate(KINDS):
            for s in range(len(SIZES)):
                for v in range(variants):
                    scale = (1, 2, 4)[v % 3]
                    m = draw_mask(kind, random_pose(rng, s), CELL * scale)
                    bank[k + 1, s + 1, v] = np.asarray(m.resize((CELL, CELL), filters[rng.integers(4)]))
        return bank

    def paint(self, grids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """grids int [batch, 9, 3] -> pictures u8 [batch, 96, 96, 3]"""
        b = len(grids)
        variant = rng.integers(self.variants, size=grids.shape[:2])
        mask = self.bank[grids[..., 1], grids[..., 2], variant].astype(np.float32)[..., None] / 255   # [b, 9, 32, 32, 1]
        ink = self.inks[grids[..., 0]] + rng.normal(0, 6, (*grids.shape[:2], 3)).astype(np.float32)
        back = np.array(BACKGROUNDS, np.float32)[rng.integers(len(BACKGROUNDS), size=b)]
        back = back + rng.uniform(-12, 12, (b, 1)) + rng.normal(0, 4, (b, 3))
        back = back.astype(np.float32)[:, None, None, None]
        a = back + (ink[:, :, None, None] - back) * mask                                              # [b, 9, 32, 32, 3]
        a = a.reshape(b, GRID, GRID, CELL, CELL, 3).transpose(0, 1, 3, 2, 4, 5).reshape(b, IMAGE_SIZE, IMAGE_SIZE, 3)
        a = a + rng.normal(0, 1, (b, IMAGE_SIZE, IMAGE_SIZE, 1)).astype(np.float32) * rng.uniform(0, 4, (b, 1, 1, 1)).astype(np.float32)
        return np.clip(a + 0.5, 0, 255).astype(np.uint8)
