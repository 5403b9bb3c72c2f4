/**
 * Every bad input that can reach the page: each shows its code and its sentence, and nothing else
 * goes wrong on the page.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { NO_EXAMPLE, POCKET, WWW, assertQuiet, givePicture, launch, modelReady, openPage, servePage, shownError } from "./harness.mjs";
import { ShardSet } from "./shard_set.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const NOT_FOUND = /Failed to load resource.*404/;

/**
 * Opens the page with a damaged model and returns the error it shows.
 *
 * @param {(set: ShardSet) => void} damage
 * @param {RegExp[]} [expected] problems that belong to it
 */
async function loadDamaged(damage, expected = []) {
  const set = new ShardSet(POCKET);
  damage(set);
  const server = await servePage({ hook: set.hook });
  const { context, page, problems } = await openPage(browser);
  try {
    await page.goto(`${server.url}?model=./faulty/`);
    const error = await shownError(page, "#model-error");
    assert.ok(await page.locator("#send").isDisabled(), "no question can be asked");
    assert.ok(await page.locator("#model-again").isVisible(), "it can be tried again");
    assertQuiet(problems, expected);
    return { ...error, requests: server.requests };
  } finally {
    await context.close();
    await server.close();
  }
}

test("a truncated safetensors header", async () => {
  const error = await loadDamaged((set) => {
    const shard = set.shards[0] ?? "";
    const bytes = Buffer.from(set.file(shard));
    bytes.writeBigUInt64LE(BigInt(bytes.length), 0);
    set.reseal(shard, bytes);
  });
  assert.equal(error.code, "checkpoint-header");
  assert.match(error.sentence ?? "", /is not a valid safetensors file: .+ Download or convert it again\./);
});

test("an index that does not fit its config.json is refused before a shard is fetched", async () => {
  const tensor = "language_projection.bias";
  for (const [code, sentence, damage] of /** @type {const} */ ([
    ["tensor-missing", /lacks the tensor language_projection\.bias/, (/** @type {ShardSet} */ set) => set.changeIndex(({ weight_map }) => delete weight_map[tensor])],
    ["index-invalid", /has 100 bytes, but its tensors should have \d+/, (/** @type {ShardSet} */ set) => set.reseal(set.shards[0] ?? "", set.file(set.shards[0] ?? "").subarray(0, 100))],
    ["index-invalid", /but its tensors should have/, (/** @type {ShardSet} */ set) => set.changeJson("config.json", (config) => (config.text_config.d_ff *= 4))],
  ])) {
    const error = await loadDamaged(damage);
    assert.equal(error.code, code);
    assert.match(error.sentence ?? "", sentence);
    assert.deepEqual(error.requests.filter(({ path }) => path.endsWith(".safetensors")), []);
  }
});

test("a header whose tensor lies outside the file", async () => {
  const error = await loadDamaged((set) => {
    const { tensor, shard } = set.find(/weight$/);
    set.changeHeader(shard, (header) => {
      const entry = header[tensor];
      if (entry) entry.data_offsets = [entry.data_offsets[0], entry.data_offsets[1] + 2 ** 40];
    });
  });
  assert.equal(error.code, "checkpoint-header");
});

test("a header whose length is absurd", async () => {
  const error = await loadDamaged((set) => {
    const shard = set.shards[0] ?? "";
    const bytes = Buffer.from(set.file(shard));
    bytes.writeBigUInt64LE(2n ** 63n, 0);
    set.reseal(shard, bytes);
  });
  assert.equal(error.code, "checkpoint-header");
});

test("a missing tensor", async () => {
  const { tensor } = new ShardSet(POCKET).find(/^language_projection\.weight$/);
  const error = await loadDamaged((set) => {
    const { shard } = set.find(/^language_projection\.weight$/);
    set.changeHeader(shard, (header) =>
      Object.fromEntries(Object.entries(header).map(([name, entry]) => [name === tensor ? "renamed" : name, entry])),
    );
  });
  assert.equal(error.code, "tensor-missing");
  assert.match(error.sentence ?? "", /lacks the tensor language_projection\.weight/);
});

test("a misshapen tensor", async () => {
  const error = await loadDamaged((set) => {
    const { tensor, shard } = set.find(/^query_tokens$/);
    set.changeHeader(shard, (header) => void header[tensor]?.shape.reverse());
  });
  assert.equal(error.code, "tensor-shape");
  assert.match(error.sentence ?? "", /^Tensor query_tokens: expected .+, found .+/);
});

test("a config with absurd sizes", async () => {
  const error = await loadDamaged((set) =>
    set.changeJson("config.json", (config) => (config.vision_config.hidden_size = 1_000_000_000)),
  );
  assert.equal(error.code, "config-invalid");
  assert.match(error.sentence ?? "", /config\.json/);
  const shards = error.requests.filter((request) => request.path.endsWith(".safetensors"));
  assert.equal(shards.length, 0, "refused before any shard was fetched");
});

test("a config that is no JSON", async () => {
  const error = await loadDamaged((set) => set.files.set("config.json", Buffer.from("{]")));
  assert.equal(error.code, "config-invalid");
  const page = await loadDamaged((set) => set.files.set("config.json", Buffer.from("\n<!doctype html>")));
  assert.equal(page.code, "network");
  assert.match(page.sentence ?? "", /the host sent a web page instead/);
});

test("an index that names a file outside its folder", async () => {
  for (const outside of ["../secret.safetensors", "https://example.org/x.safetensors", "/etc/passwd", "a\\b"]) {
    const error = await loadDamaged((set) =>
      set.changeIndex((index) => {
        const [first] = Object.keys(index.metadata.shards);
        index.metadata.shards[outside] = index.metadata.shards[first ?? ""];
        delete index.metadata.shards[first ?? ""];
        for (const name of Object.keys(index.weight_map)) {
          if (index.weight_map[name] === first) index.weight_map[name] = outside;
        }
      }),
    );
    assert.equal(error.code, "index-invalid", outside);
    const shards = error.requests.filter((request) => request.path.includes(".safetensors?") || request.path.endsWith(".safetensors"));
    assert.equal(shards.length, 0, "nothing it names is fetched");
  }
});

test("an index without lengths and hashes", async () => {
  const error = await loadDamaged((set) => set.changeIndex((index) => delete index.metadata.shards));
  assert.equal(error.code, "index-invalid");
  assert.match(error.sentence ?? "", /instructblip convert/);
});

test("a tokenizer that is none", async () => {
  const error = await loadDamaged((set) => set.files.set("tokenizer.json", Buffer.from("{}")));
  assert.equal(error.code, "tokenizer-invalid");
  const shards = error.requests.filter(({ path }) => path.endsWith(".safetensors"));
  assert.equal(shards.length, 0, "refused before any shard was fetched");
});

test("a tokenizer that does not fit the vocabulary", async () => {
  const error = await loadDamaged((set) => {
    set.changeJson("tokenizer.json", (tokenizer) => {
      tokenizer.added_tokens.push({
        id: 10_000_000, content: "<beyond>", single_word: false, lstrip: false, rstrip: false, normalized: false, special: true,
      });
    });
  });
  assert.equal(error.code, "tokenizer-invalid");
});

test("a folder without a model", async () => {
  const error = await loadDamaged((set) => set.files.clear(), [NOT_FOUND]);
  assert.equal(error.code, "network");
  assert.match(error.sentence ?? "", /there is no such file/);
});

test("a shard with a flipped bit is fetched again, then refused", async () => {
  /** @type {string} */
  let damaged = "";
  const error = await loadDamaged((set) => {
    damaged = set.shards[0] ?? "";
    const bytes = Buffer.from(set.file(damaged));
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    set.files.set(damaged, bytes);
  });
  assert.equal(error.code, "shard-corrupt");
  assert.match(error.sentence ?? "", /SHA-256/);
  const tries = error.requests.filter((request) => request.path.endsWith(damaged));
  assert.equal(tries.length, 2);
});

test("a shard that is too short", async () => {
  const error = await loadDamaged((set) => {
    const shard = set.shards[0] ?? "";
    set.files.set(shard, set.file(shard).subarray(0, -1));
  });
  assert.equal(error.code, "shard-corrupt");
  assert.match(error.sentence ?? "", /promises \d+ bytes, \d+ came/);
});

test("questions that are none", async (t) => {
  const server = await servePage({ hook: NO_EXAMPLE });
  const { context, page, problems } = await openPage(browser);
  t.after(async () => {
    await context.close();
    await server.close();
  });
  await page.goto(server.url);
  await modelReady(page);

  await t.test("a question before a picture", async () => {
    await page.locator("#question").fill("What is there?");
    await page.locator("#send").click();
    const error = await shownError(page, "#ask-error");
    assert.equal(error.code, "picture-missing");
    assert.equal(error.sentence, "There is no picture yet. Choose one, or take an example.");
    assert.equal(await page.locator("#question").inputValue(), "What is there?");
    assert.equal(await page.locator("#turns > li").count(), 0);
  });

  const example = readFileSync(join(WWW, "examples", JSON.parse(readFileSync(join(WWW, "examples/examples.json"), "utf8")).examples[0].file));
  await t.test("an empty question", async () => {
    await givePicture(page, "example.png", example);
    const before = await page.locator("#turns > li").count();
    for (const question of ["", "  \n "]) {
      await page.locator("#question").fill(question);
      await page.locator("#send").click();
      const error = await shownError(page, "#ask-error");
      assert.equal(error.code, "question-empty");
    }
    assert.equal(await page.locator("#turns > li").count(), before, "no empty turn is kept");
  });

  await t.test("a question that is too long is cut on the left, and said", async () => {
    await page.locator("#question").fill(`${"and ".repeat(2000)} what is there?`);
    await page.locator("#send").click();
    const notice = page.locator("#turns > li").last().locator(".notice:not([hidden])");
    await notice.filter({ hasText: "longer than the model can read" }).waitFor();
  });

  assertQuiet(problems);
});
