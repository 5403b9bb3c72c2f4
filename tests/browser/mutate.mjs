/**
 * Mutations of JSON files from a seed, as `tests/fuzz/mutate.rs` makes them for the native build.
 * In: a file's bytes. Out: the bytes with a few changes, of the JSON in it or of single bytes.
 */

/** The same numbers for the same seed: mulberry32. */
export class Random {
  #state;

  /** @param {number} seed */
  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** @param {number} n @returns {number} from 0, below `n` */
  below(n) {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) % n;
  }

  /** @template T @param {readonly T[]} of @returns {T} */
  pick(of) {
    return /** @type {T} */ (of[this.below(of.length)]);
  }
}

/** Values that break assumptions, as they stand in the file. */
const HARSH =
  '0 -0 -1 1 2 0.5 1e-320 255 65536 2147483647 2147483648 -2147483649 4294967295 4294967296 9007199254740993 18446744073709551615 18446744073709551616 1e308 -1e308 1e999 true false null [] {} "" [[]] [null] NaN 01 "\\ud800" "\\u0000" "\\u202e"'.split(
    " ",
  );

const TEXTS =
  "a A ▁ ## \u{1b}]0;x\u{7} \u{202e} é 東 ﷺ 🦀 ../x /etc/passwd x.safetensors http://x/ ( .* a* (?=a) <0x41> </s> t5 instructblip Unigram WordPiece BPE Sequence NFKC NFKD Lowercase Precompiled Replace Prepend BertNormalizer Metaspace Whitespace Fuse ByteFallback F32 q4 gelu".split(
    " ",
  );

/**
 * JSON that need not be sound: a text as it is, a list, or members of which a name may come twice.
 *
 * @typedef {{ raw: string } | { list: Json[] } | { map: [string, Json][] }} Json
 */

/** @param {any} value @returns {Json} */
function parse(value) {
  if (Array.isArray(value)) return { list: value.map(parse) };
  if (value && typeof value === "object") return { map: Object.entries(value).map(([name, value]) => [name, parse(value)]) };
  return { raw: JSON.stringify(value) };
}

/** @param {Json} json @returns {string} */
function write(json) {
  if ("list" in json) return `[${json.list.map(write).join()}]`;
  if ("map" in json) return `{${json.map.map(([name, value]) => `${JSON.stringify(name)}:${write(value)}`).join()}}`;
  return json.raw;
}

/** @param {Json} json @returns {Json[]} */
function children(json) {
  if ("list" in json) return json.list;
  return "map" in json ? json.map.map(([, value]) => value) : [];
}

/** Makes one value another, in place. @param {Json} place @param {Json} by */
function replace(place, by) {
  for (const key of Object.keys(place)) delete (/** @type {any} */ (place)[key]);
  Object.assign(place, by);
}

/** @param {Random} random @returns {Json} */
function text(random) {
  const times = random.below(8) ? 1 : random.pick([3, 17, 129, 600, 70_000]);
  return { raw: JSON.stringify(random.pick(TEXTS).repeat(times)) };
}

/**
 * Parts that make a text longer, some of them too much.
 *
 * @param {Random} random
 * @param {string} [children] what holds them
 * @returns {Json}
 */
function parts(random, children = random.pick(["normalizers", "pretokenizers", "decoders"])) {
  const plain = { normalizers: ["NFKC", "NFKD", "Lowercase", "Nmt"], pretokenizers: ["Whitespace"], decoders: ["Fuse", "ByteFallback"] };
  const part = () =>
    random.pick([
      { type: "Replace", pattern: { String: "a" }, content: "a".repeat(random.pick([1, 9, 128, 128])) },
      { type: "Replace", pattern: { Regex: random.pick([".", "a*", "(a+)+$", "(?=a)", "\\b", "\\w{9}"]) }, content: random.pick(TEXTS) },
      { type: "Prepend", prepend: random.pick(TEXTS) },
      { type: random.pick(/** @type {Record<string, string[]>} */ (plain)[children] ?? []) },
    ]);
  // The same part several times: one after another they multiply.
  const once = part();
  const list = Array.from({ length: 1 + random.below(8) }, random.below(3) ? () => once : part);
  return parse({ type: "Sequence", [children]: list });
}

/** One mutation somewhere within. @param {Random} random @param {Json} root */
function mutateOnce(random, root) {
  let place = root;
  // Each level is as likely to be the place, so that long lists do not take them all.
  while (random.below(4) && children(place).length) place = random.pick(children(place));
  const kind = random.below(8);
  if (kind < 2) return replace(place, { raw: random.pick(HARSH) });
  if (kind === 2) return replace(place, text(random));
  if (kind === 3) {
    const depth = random.pick([1, 2, 100, 126, 130, 20_000]);
    const [open, close] = random.pick([["[", "]"], ['{"a":', "}"]]);
    return replace(place, { raw: String(open).repeat(depth) + write(place) + String(close).repeat(depth) });
  }
  if (kind === 4) return replace(place, parts(random));
  if ("list" in place && place.list.length) {
    const { list } = place;
    const at = random.below(list.length);
    const item = /** @type {Json} */ (list[at]);
    if (kind === 5) list.splice(at, 1);
    else if (kind === 6) list.push(...Array.from({ length: random.pick([1, 20, 5000]) }, () => item));
    else list.length = at;
  } else if ("map" in place && place.map.length) {
    const { map } = place;
    const member = random.pick(map);
    if (kind === 5) map.splice(map.indexOf(member), 1);
    else if (kind === 6) map.push([member[0], random.below(2) ? member[1] : text(random)]);
    else member[0] = random.pick(TEXTS);
  } else replace(place, text(random));
}

/** @param {Random} random @param {Buffer} file @returns {Buffer} */
export function mutate(random, file) {
  const normalized = file.includes('"normalizer"') && random.below(3) === 0;
  if (normalized) {
    const root = parse(JSON.parse(file.toString()));
    const place = "map" in root && root.map.find(([name]) => name === "normalizer");
    if (place) place[1] = parts(random, "normalizers");
    return Buffer.from(write(root));
  }
  if (random.below(6) === 0) {
    const bytes = Buffer.from(file);
    for (let i = random.below(4); i >= 0; i--) bytes[random.below(bytes.length)] = random.below(256);
    return random.below(3) ? bytes : bytes.subarray(0, random.below(bytes.length));
  }
  const root = parse(JSON.parse(file.toString()));
  // Most files have one fault alone: with several, the first hides what the others would do.
  for (let i = random.below(3) ? 0 : 1 + random.below(3); i >= 0; i--) mutateOnce(random, root);
  return Buffer.from(write(root));
}
