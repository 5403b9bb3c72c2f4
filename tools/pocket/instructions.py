"""Instructions: what can be asked about a scene, in which words, and what the right answer is.

Three forms, as in the InstructBLIP paper: captions (short, long), questions with answers (short, or a whole sentence),
and questions to be invented from an answer.  Each form has several phrasings of our own.  `example` draws one example of
a data set for a scene; `mixed_example` first draws the data set, with p in proportion to the square root of its size.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scenes import (COLOR_NAMES, DIGITS, GRID, KINDS, LETTERS, PLACES, SHAPES, SIZES, Obj, Scene, is_held_out)

NUMBERS = ["none", "one", "two", "three", "four", "five"]
AT = [("on the " if p in ("left", "right") else "in the " if p == "center" else "at the ") + p for p in PLACES]
PLURAL = {s: s + ("es" if s == "cross" else "s") for s in SHAPES}
CLASSES = {"shapes": range(0, 6), "digits": range(6, 16), "letters": range(16, 24)}
RELATIONS = {"left of": (0, -1), "right of": (0, 1), "above": (-1, 0), "below": (1, 0)}   # (rows, columns)

# Data sets and their nominal sizes, in thousands of examples.
SIZE = {"color": 40, "kind": 40, "at": 30, "where": 40, "size": 20, "count": 40, "exist": 40, "relation": 40, "next": 30,
        "read": 20, "describe": 20, "caption short": 20, "caption long": 40, "question": 40}
DATA_SETS = list(SIZE)
MIX = np.sqrt([SIZE[d] for d in DATA_SETS])
MIX /= MIX.sum()
# For the first part of a training: more of what needs an object found by its name, less of the rest.
FINDING = {"where": 1.5, "relation": 3, "next": 3, "exist": 1.5, "count": 6, "color": 1, "describe": 1, "kind": 0.5,
           "size": 0.5, "question": 1.5, "at": 0.5, "read": 0.5, "caption short": 0.5, "caption long": 0.5}
FINDING_MIX = MIX * [FINDING[d] for d in DATA_SETS]
FINDING_MIX /= FINDING_MIX.sum()

SHORT = ["{q}", "{q}", "Question: {q} Answer:", "Q: {q} A:", "{q} Short answer:", "Answer in a few words: {q}",
         "Look at the picture and answer briefly. {q}", "Please tell me: {q}", "Can you tell me: {q}"]
LONG = ["{q} Answer in a full sentence.", "Question: {q} Long answer:", "{q} Long answer:",
        "Look at the picture and answer with a sentence. {q}"]
CAPTION_SHORT = ["A short caption:", "Write a short caption.", "Describe the picture briefly.", "A short image caption:",
                 "What is in the picture, in a few words?"]
CAPTION_LONG = ["Describe the picture in detail.", "A long caption:", "Describe the picture.", "What do you see?",
                "List every object.", "Write a full description of the picture.", "What is in the picture?"]
INVENT = ["Ask a question whose answer is: {a}. Question:", "Given the answer {a}, write a question.",
          "Which question has the answer {a}?", "Answer: {a}. Question:"]


class Example(NamedTuple):
    data_set: str
    instruction: str
    answer: str
    focus: int               # the cell asked about, or -1
    other: int               # a second cell that the answer depends on, or -1
    count: int               # the number that a counting question asks for, or -1
    match: frozenset[int]    # the cells of all objects that fit what is asked for
    accept: frozenset[str]   # every right answer (an invented question has many)


class Query(NamedTuple):
    """A question with its short and its long answer."""
    text: str
    short: str
    long: str
    focus: int = -1
    other: int = -1
    count: int = -1
    match: frozenset[int] = frozenset()


# ---- words -----------------------------------------------------------------------------------------------------------

def article(phrase: str) -> str:
    first = phrase.split()[0]
    an = first in ("A", "E", "H", "M", "R", "8") if len(first) == 1 else first[0] in "aeiou"
    return ("an " if an else "a ") + phrase


def full(o: Obj) -> str:
    return f"{SIZES[o.size]} {COLOR_NAMES[o.color]} {KINDS[o.kind]}"


def pair(o: Obj) -> str:
    return f"{COLOR_NAMES[o.color]} {KINDS[o.kind]}"


def noun(kind: int, rng: np.random.Generator) -> str:
    """A kind's name; digits and letters may be announced as such."""
    name = KINDS[kind]
    if name in SHAPES or rng.random() < 0.5:
        return name
    return ("digit " if name in DIGITS else "letter ") + name


def join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def refer(scene: Scene, o: Obj, rng: np.random.Generator, hide: str = "") -> str | None:
    """A phrase that fits `o` alone and does not mention the attribute `hide`; None if there is none."""
    forms = []
    for use in (("kind",), ("color", "kind"), ("color",), ("size", "kind"), ("size", "color", "kind"), ("size", "color")):
        if hide in use or sum(all(getattr(p, u) == getattr(o, u) for u in use) for p in scene) > 1:
            continue
        forms.append(use)
    if not forms:
        return None
    weights = np.array([{("kind",): 3, ("color", "kind"): 3, ("color",): 2}.get(f, 1) for f in forms], float)
    use = forms[rng.choice(len(forms), p=weights / weights.sum())]
    words = [SIZES[o.size]] if "size" in use else []
    words += [COLOR_NAMES[o.color]] if "color" in use else []
    words += [noun(o.kind, rng)] if "kind" in use else ["object"]
    return " ".join(words)


def pick(options, rng: np.random.Generator):
    return options[rng.integers(len(options))]


# ---- questions: each function returns a Query, or None where the scene does not allow one ----------------------------

def ask_color(scene: Scene, rng) -> Query | None:
    if not scene:
        return None
    o = pick(scene, rng)
    c = COLOR_NAMES[o.color]
    r = refer(scene, o, rng, hide="color") if rng.random() < 0.8 else None
    r = r or "object " + AT[o.cell]
    return Query(pick([f"What color is the {r}?", f"What is the color of the {r}?", f"Which color does the {r} have?"], rng), c,
                 f"The {r} is {c}.", o.cell)


def ask_kind(scene: Scene, rng) -> Query | None:
    if not scene:
        return None
    o = pick(scene, rng)
    k = KINDS[o.kind]
    r = refer(scene, o, rng, hide="kind") if rng.random() < 0.8 else None
    r = r or "object " + AT[o.cell]
    return Query(pick([f"What is the {r}?", f"What kind of object is the {r}?"], rng), k, f"The {r} is {article(k)}.", o.cell)


def ask_at(scene: Scene, rng) -> Query:
    here = {o.cell: o for o in scene}
    cell = pick(list(here), rng) if here and rng.random() < 0.75 else int(rng.integers(GRID * GRID))
    text = pick([f"What is {AT[cell]}?", f"What do you see {AT[cell]}?", f"Which object is {AT[cell]}?"], rng)
    if cell not in here:
        return Query(text, "nothing", f"There is nothing {AT[cell]}.", cell)
    return Query(text, article(pair(here[cell])), f"There is {article(full(here[cell]))} {AT[cell]}.", cell)


def ask_where(scene: Scene, rng, held: bool = False) -> Query | None:
    if rng.random() < 0.12:
        c, k = absent_pair(scene, rng, held)
        r = f"{COLOR_NAMES[c]} {noun(k, rng)}"
        return Query(f"Where is the {r}?", "nowhere", f"There is no {r}.")
    if not scene:
        return None
    o = pick(scene, rng)
    r = refer(scene, o, rng)
    if r is None:
        return None
    return Query(pick([f"Where is the {r}?", f"In which place is the {r}?"], rng), PLACES[o.cell], f"The {r} is {AT[o.cell]}.", o.cell)


def ask_size(scene: Scene, rng) -> Query | None:
    if not scene:
        return None
    o = pick(scene, rng)
    r = refer(scene, o, rng, hide="size") or "object " + AT[o.cell]
    s = SIZES[o.size]
    return Query(pick([f"Is the {r} big or small?", f"What size is the {r}?", f"How big is the {r}?"], rng), s, f"The {r} is {s}.", o.cell)


def ask_count(scene: Scene, rng) -> Query:
    u = rng.random()
    o = pick(scene, rng) if scene and rng.random() < 0.8 else Obj(int(rng.integers(8)), int(rng.integers(6)), int(rng.integers(2)), 0)
    if u < 0.2:
        what, fits = "objects", scene
    elif u < 0.5:
        what, fits = COLOR_NAMES[o.color] + " objects", [p for p in scene if p.color == o.color]
    elif u < 0.8:
        k = o.kind if o.kind < len(SHAPES) else int(rng.integers(len(SHAPES)))
        what, fits = PLURAL[KINDS[k]], [p for p in scene if p.kind == k]
    elif u < 0.93:
        what = pick(list(CLASSES), rng)
        fits = [p for p in scene if p.kind in CLASSES[what]]
    else:
        what, fits = SIZES[o.size] + " objects", [p for p in scene if p.size == o.size]
    n = len(fits)
    one = what[:-2] if what == "crosses" else what[:-1]
    answer = f"There are no {what}." if n == 0 else f"There is one {one}." if n == 1 else f"There are {NUMBERS[n]} {what}."
    return Query(pick([f"How many {what} are there?", f"How many {what} do you see?", f"Count the {what}."], rng), NUMBERS[n], answer, count=n,
                 match=frozenset(p.cell for p in fits))


def absent_pair(scene: Scene, rng, held: bool = False) -> tuple[int, int]:
    """A (colour, kind) that is not in the scene; often its colour or its kind is."""
    while True:
        c, k = int(rng.integers(len(COLOR_NAMES))), int(rng.integers(len(KINDS)) if rng.random() < 0.4 else rng.integers(len(SHAPES)))
        if scene and (u := rng.random()) < 0.75:
            if u < 0.5:
                c = pick(scene, rng).color
            if u > 0.25:
                k = pick(scene, rng).kind
        if all((o.color, o.kind) != (c, k) for o in scene) and (held or not is_held_out(c, k)):
            return c, k


def ask_exist(scene: Scene, rng, held: bool = False) -> Query:
    u = rng.random()
    if u < 0.12:
        what = pick(list(CLASSES), rng)
        focus = next((o.cell for o in scene if o.kind in CLASSES[what]), -1)
        yes = focus >= 0
        return Query(f"Are there any {what}?", "yes" if yes else "no", f"Yes, there are {what}." if yes else f"No, there are no {what}.", focus)
    if u < 0.22:
        cell = int(rng.integers(GRID * GRID))
        yes = any(o.cell == cell for o in scene)
        return Query(f"Is there anything {AT[cell]}?", "yes" if yes else "no",
                     f"{'Yes, there is something' if yes else 'No, there is nothing'} {AT[cell]}.", cell)
    yes = bool(scene) and rng.random() < 0.5
    if yes:
        o = pick(scene, rng)
        c, k = o.color, o.kind
    else:
        c, k = absent_pair(scene, rng, held)
    focus = next((o.cell for o in scene if (o.color, o.kind) == (c, k)), -1)
    what = f"{COLOR_NAMES[c]} {noun(k, rng)}"
    if rng.random() < 0.3:                                   # the kind alone
        what = noun(k, rng)
        focus = next((o.cell for o in scene if o.kind == k), -1)
        yes = focus >= 0
    text = pick([f"Is there {article(what)}?", f"Do you see {article(what)}?"], rng)
    return Query(text, "yes" if yes else "no", f"Yes, there is {article(what)}." if yes else f"No, there is no {what}.", focus)


def two_named(scene: Scene, rng) -> tuple[Obj, Obj, str, str] | None:
    if len(scene) < 2:
        return None
    i, j = rng.choice(len(scene), 2, replace=False)
    a, b = scene[i], scene[j]
    ra, rb = refer(scene, a, rng), refer(scene, b, rng)
    return None if ra is None or rb is None else (a, b, ra, rb)


def ask_relation(scene: Scene, rng) -> Query | None:
    named = two_named(scene, rng)
    if named is None:
        return None
    a, b, ra, rb = named
    if rng.random() < 0.4:
        one, two, d = pick([("left", "right", a.column - b.column), ("above", "below", a.row - b.row)], rng)
        of = " of" if one == "left" else ""
        short = "no" if d == 0 else one if d < 0 else two
        long = "No, it is not." if d == 0 else f"It is {short}{of} it."
        return Query(f"Is the {ra} {one} or {two}{of} the {rb}?", short, long, a.cell, b.cell)
    holds = {"left of": a.column < b.column, "right of": a.column > b.column, "above": a.row < b.row, "below": a.row > b.row}
    want = rng.random() < 0.5
    relation = pick([r for r, h in holds.items() if h == want] or list(holds), rng)
    yes = holds[relation]
    return Query(f"Is the {ra} {relation} the {rb}?", "yes" if yes else "no",
                 f"Yes, it is {relation} it." if yes else f"No, it is not {relation} it.", a.cell, b.cell)


def ask_next(scene: Scene, rng) -> Query | None:
    here = {o.cell: o for o in scene}
    if not scene:
        return None
    options = []
    for o in scene:
        for relation, (dr, dc) in RELATIONS.items():
            row, column = o.row + dr, o.column + dc
            inside = 0 <= row < GRID and 0 <= column < GRID
            options.append((o, relation, here.get(row * GRID + column) if inside else None))
    some = [x for x in options if x[2] is not None]
    o, relation, other = pick(some if some and rng.random() < 0.75 else options, rng)
    r = refer(scene, o, rng)
    if r is None:
        return None
    where = {"left of": "just left of", "right of": "just right of", "above": "just above", "below": "just below"}[relation]
    answer = "nothing" if other is None else article(pair(other))
    return Query(f"What is {where} the {r}?", answer, f"There is {answer} {where} the {r}.", o.cell)


def ask_read(scene: Scene, rng) -> Query | None:
    what = pick(["digit", "letter"], rng)
    found = [o for o in scene if o.kind in CLASSES[what + "s"]]
    text = pick([f"Which {what} is in the picture?", f"What {what} do you see?", f"Which {what} is there?"], rng)
    if not found:
        return Query(text, "none", f"There is no {what}.") if rng.random() < 0.3 else None
    if len(found) > 1:
        found = [o for o in found if sum(p.color == o.color for p in found) == 1]
        if not found:
            return None
        o = pick(found, rng)
        text = f"Which {what} is {COLOR_NAMES[o.color]}?"
    else:
        o = found[0]
    return Query(text, KINDS[o.kind], f"The {what} is {KINDS[o.kind]}.", o.cell)


def describe(scene: Scene, rng) -> Query | None:
    if not scene:
        return None
    o = pick(scene, rng)
    r = refer(scene, o, rng)
    if r is None:
        return None
    answer = f"{article(full(o))} {AT[o.cell]}"
    return Query(pick([f"Describe the {r}.", f"Write a full description of the {r}."], rng), answer, answer + ".", o.cell)


ASK = {"color": ask_color, "kind": ask_kind, "at": ask_at, "where": ask_where, "size": ask_size, "count": ask_count,
       "exist": ask_exist, "relation": ask_relation, "next": ask_next, "read": ask_read, "describe": describe}


# ---- captions and invented questions ---------------------------------------------------------------------------------

def caption_short(scene: Scene) -> str:
    if not scene:
        return "an empty picture"
    first = article(pair(scene[0]))
    if len(scene) == 1:
        return first
    return f"{first} and {article(pair(scene[1]))}" if len(scene) == 2 else f"{first} and {NUMBERS[len(scene) - 1]} other objects"


def caption_long(scene: Scene) -> str:
    return join([f"{article(full(o))} {AT[o.cell]}" for o in scene]) + "." if scene else "an empty picture."


def invented(scene: Scene) -> dict[str, dict[str, int]]:
    """For every answer, the questions we accept for it, each with the cell it is about; the first is the one we teach."""
    out: dict[str, dict[str, int]] = {}

    def add(answer: str, question: str, cell: int = -1) -> None:
        out.setdefault(answer, {}).setdefault(question, cell)

    for o in scene:
        add(COLOR_NAMES[o.color], f"What color is the {KINDS[o.kind]} {AT[o.cell]}?", o.cell)
        add(KINDS[o.kind], f"What is the {COLOR_NAMES[o.color]} object {AT[o.cell]}?", o.cell)
        if sum(p.kind == o.kind for p in scene) == 1:
            add(COLOR_NAMES[o.color], f"What color is the {KINDS[o.kind]}?", o.cell)
        if sum(p.color == o.color for p in scene) == 1:
            add(KINDS[o.kind], f"What is the {COLOR_NAMES[o.color]} object?", o.cell)
        if sum((p.kind, p.color) == (o.kind, o.color) for p in scene) == 1:
            add(PLACES[o.cell], f"Where is the {pair(o)}?", o.cell)
        add("yes", f"Is there {article(pair(o))}?", o.cell)
    for o in scene:
        add(COLOR_NAMES[o.color], f"What color is the object {AT[o.cell]}?", o.cell)
        add(KINDS[o.kind], f"What is the object {AT[o.cell]}?", o.cell)
    add(NUMBERS[len(scene)], "How many objects are there?")
    for c, name in enumerate(COLOR_NAMES):
        add(NUMBERS[sum(o.color == c for o in scene)], f"How many {name} objects are there?")
    for k, name in enumerate(SHAPES):
        add(NUMBERS[sum(o.kind == k for o in scene)], f"How many {PLURAL[name]} are there?")
    for cell in sorted(set(range(GRID * GRID)) - {o.cell for o in scene}):
        add("no", f"Is there anything {AT[cell]}?", cell)
    for c, color in enumerate(COLOR_NAMES):
        for k, kind in enumerate(KINDS):
            if all((o.color, o.kind) != (c, k) for o in scene):
                add("no", f"Is there {article(color + ' ' + kind)}?")
    return out


def invent(scene: Scene, rng) -> tuple[str, str, int, frozenset[str]]:
    """(answer, the question we teach, the cell it is about, every question we accept)"""
    choices = invented(scene)
    answers = [a for a in choices if a not in NUMBERS + ["yes", "no"]] + ["yes", "no", NUMBERS[len(scene)]]
    answer = pick([a for a in answers if a in choices], rng)
    taught, focus = next(iter(choices[answer].items()))
    return answer, taught, focus, frozenset(choices[answer])


# ---- examples --------------------------------------------------------------------------------------------------------

def careless(text: str, rng) -> str:
    """As people type: sometimes without the question mark or capitals, sometimes in other words."""
    u = rng.random()
    if rng.random() < 0.2:
        text = text.replace("picture", "image").replace("color", "colour").replace("Describe the", "Describe this")
    if rng.random() < 0.1:
        text = text.replace("object ", "thing ").replace("What is", "What's").replace("Where is", "Where's")
    if u < 0.10:
        text = text.lower()
    if 0.05 < u < 0.15:
        text = text.replace("?", "")
    return text.strip()


def example(scene: Scene, data_set: str, rng: np.random.Generator, held: bool = False) -> Example | None:
    """One example of a data set, or None where the scene has none.  `held` lets absent things be held-out pairs."""
    if data_set == "caption short":
        answer = caption_short(scene)
        return Example(data_set, careless(pick(CAPTION_SHORT, rng), rng), answer, -1, -1, -1, frozenset(), frozenset([answer]))
    if data_set == "caption long":
        answer = caption_long(scene)
        return Example(data_set, careless(pick(CAPTION_LONG, rng), rng), answer, -1, -1, -1, frozenset(), frozenset([answer]))
    if data_set == "question":
        given, answer, focus, accept = invent(scene, rng)
        return Example(data_set, pick(INVENT, rng).format(a=given), answer, focus, -1, -1, frozenset(), accept)
    ask = ASK[data_set]
    query = ask(scene, rng, held) if data_set in ("where", "exist") else ask(scene, rng)
    if query is None:
        return None
    long = rng.random() < 0.2
    answer = query.long if long else query.short
    return Example(data_set, careless(pick(LONG if long else SHORT, rng).format(q=query.text), rng), answer, query.focus,
                   query.other, query.count, query.match or frozenset({query.focus} - {-1}), frozenset([answer]))


def mixed_example(scene: Scene, rng: np.random.Generator, held: bool = False, mix: np.ndarray = MIX) -> Example:
    while True:
        found = example(scene, DATA_SETS[rng.choice(len(DATA_SETS), p=mix)], rng, held)
        if found is not None:
            return found


if __name__ == "__main__":
    from scenes import random_scene
    r = np.random.default_rng(0)
    for _ in range(40):
        s = random_scene(r)
        e = mixed_example(s, r)
        print(f"{caption_long(s)}\n    [{e.data_set}] {e.instruction} -> {e.answer}")
