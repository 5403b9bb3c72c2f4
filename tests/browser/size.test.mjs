/** The download stays small. */
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { WWW } from "./harness.mjs";

/** What a visitor waits for before anything else can begin. */
const LIMIT_BYTES = 2e6;

test("the module is at most 2 MB as brotli", () => {
  const { size } = statSync(join(WWW, "dist/instructblip_web_bg.wasm.br"));
  assert.ok(size <= LIMIT_BYTES, `${size} bytes: \`cargo xtask build --sizes\` tells what is in it`);
});
