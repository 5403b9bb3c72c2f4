/**
 * Files of every kind given as pictures: what cannot be read is said with its name and replaces
 * nothing; what only the browser can draw is drawn by it; nothing dropped leads away from the chat.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { crc32, deflateSync } from "node:zlib";
import { isCut, kindOf } from "../../www/page/any_picture.js";
import { NO_EXAMPLE, WWW, ask, assertQuiet, givePicture, launch, modelReady, visit } from "./harness.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const shapes = readFileSync(join(WWW, "examples/shapes.png"));

/**
 * A grey PNG, or one whose data ends before its pixels do.
 *
 * @param {number} width
 * @param {number} height
 * @param {boolean} [whole]
 */
function png(width, height, whole = true) {
  const chunk = (/** @type {string} */ type, /** @type {Buffer} */ data) => {
    const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
    const frame = Buffer.alloc(8);
    frame.writeUInt32BE(data.length, 0);
    frame.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
  };
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0]);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  const rows = Buffer.alloc(whole ? (width + 1) * height : 64, 0x80);
  for (let row = 0; whole && row < height; row++) rows[row * (width + 1)] = 0;
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

/** Two frames of one pixel. */
const frame = "21f904000a0000002c000000000100010000" + "0202440100";
const gif = Buffer.from(`47494638396101000100800000000000ffffff${frame}${frame.replace("4401", "4c01")}3b`, "hex");
/** Four pixels, written by Pillow. */
const avif = Buffer.from(
  "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAAAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAAMAAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAAgAAAAIAAAAQcGl4aQAAAAADCAgIAAAADGF2MUOBAAwAAAAAE2NvbHJuY2x4AAEADQAGgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAAOG1kYXQSAAoIGAA2iAhoNCAyIheHh4YhhJJJJlUAAAD2bpYu6P9vstw7/Zuymy2xgCptY7g=",
  "base64",
);
const svg = (/** @type {string} */ inner) => Buffer.from(`<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 40 20">${inner}</svg>`);
const heic = Buffer.concat([Buffer.from("000000186674797068656963000000006d69663168656963", "hex"), Buffer.alloc(400)]);

test("files are known by their first bytes, and a missing end is noticed", () => {
  const kinds = { png: shapes, gif, avif, heic, svg: svg(""), pdf: Buffer.from("%PDF-1.7"), zip: Buffer.from("PK\x03\x04"), unknown: Buffer.from("<html><svg>") };
  for (const [kind, bytes] of Object.entries(kinds)) assert.equal(kindOf(bytes), kind);
  assert.equal(kindOf(new Uint8Array()), "unknown");
  assert.equal(kindOf(Buffer.from("<!---->".repeat(580) + "<html>")), "unknown", "in no time");
  assert.equal(isCut("png", shapes), false);
  assert.equal(isCut("png", shapes.subarray(0, -8)), true);
  // A thumbnail's end is not the picture's.
  const jpeg = Buffer.from("ffd8ffe10008ffd8ffdaffd9ffda0002aabbffd9", "hex");
  assert.equal(isCut("jpeg", jpeg), false);
  assert.equal(isCut("jpeg", jpeg.subarray(0, -2)), true);
  assert.equal(isCut("jpeg", Buffer.from("ffd8ff", "hex")), true);
  assert.equal(isCut("webp", Buffer.from("RIFF\xff\xff\0\0WEBP", "latin1")), true);
});

test("fifteen strange files: a sentence for each, and a good picture is never lost", async (t) => {
  const { server, page, problems } = await visit(t, browser, { hook: NO_EXAMPLE });
  await modelReady(page);
  page.setDefaultTimeout(30_000);
  const note = page.locator("#picture-note");
  const error = page.locator("#picture-error:not([hidden])");
  const jpeg = Buffer.from(await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(64, 64);
    canvas.getContext("2d")?.fillRect(8, 8, 20, 20);
    return [...new Uint8Array(await (await canvas.convertToBlob({ type: "image/jpeg" })).arrayBuffer())];
  }));
  await givePicture(page, "shapes.png", shapes);
  const good = await page.locator("#picture").getAttribute("src");
  const before = await note.textContent();
  const give = (/** @type {[string, Buffer][]} */ ...files) =>
    page.locator("#file").setInputFiles(files.map(([name, buffer]) => ({ name, mimeType: "application/octet-stream", buffer })));

  /** @type {[name: string, file: Buffer, code: string, sentence: RegExp][]} */
  const bad = [
    ["empty.png", Buffer.alloc(0), "picture-empty", /^“empty\.png” is empty \(0 bytes\)/],
    ["scan.pdf", Buffer.from("%PDF-1.7\n%…"), "picture-undecodable", /^“scan\.pdf” is a PDF, not a picture/],
    ["letter.docx", Buffer.from("PK\x03\x04 and so on"), "picture-undecodable", /archive or a document/],
    ["cut.jpg", jpeg.subarray(0, jpeg.length / 2), "picture-undecodable", /^“cut\.jpg” ends in the middle/],
    ["cut.png", shapes.subarray(0, shapes.length / 2), "picture-undecodable", /ends in the middle/],
    ["IMG_1.heic", heic, "picture-undecodable", /^“IMG_1\.heic” is a HEIC picture.*on an iPhone/],
    ["text.png", Buffer.from("This is no picture at all."), "picture-undecodable", /not a picture that this browser can draw/],
    ["claims.png", png(20_000, 20_000, false), "picture-too-large", /has 20000 × 20000 pixels/],
    ["broken.svg", svg("<rect>"), "picture-undecodable", /not a picture that this browser can draw/],
    // The browser draws what there is of it; the engine does not, and then neither is taken.
    ["short.gif", gif.subarray(0, 20), "picture-undecodable", /short\.gif/],
  ];
  for (const [name, file, code, sentence] of bad) {
    await give([name, file]);
    await page.locator(`#picture-error[data-code="${code}"]:not([hidden])`, { hasText: sentence }).waitFor();
    assert.match((await error.textContent()) ?? "", /The picture before it stays\.$/, name);
    assert.equal(await page.locator("#picture").getAttribute("src"), good, name);
    assert.equal(await note.textContent(), before, name);
  }

  /** @type {[name: string, file: Buffer, note: RegExp][]} */
  const drawn = [
    ["drawing.svg", svg('<script>document.title = "ran"</script><image xlink:href="/from-svg.png" width="9" height="9"/><circle cx="9" cy="9" r="9" fill="red"/>'), /^1024 × 512 · drawn by the browser · looked at/],
    ["photo.avif", avif, /^2 × 2 · drawn by the browser · looked at/],
    ["large.png", png(10_000, 6000), /^2048 × 1229 · drawn by the browser · made smaller, from 10000 × 6000 · looked at/],
    ["tall.png", png(60, 6000), /^60 × 6000 · seen squeezed into a square · looked at/],
    ["moving.gif", gif, /^1 × 1 · the first of 2 frames · looked at/],
  ];
  for (const [name, file, sentence] of drawn) {
    await give([name, file]);
    await page.locator("#picture-note", { hasText: sentence }).waitFor();
    assert.equal(await error.count(), 0, `${name}: the sentence before is gone`);
  }
  assert.notEqual(await page.title(), "ran");
  assert.equal(server.requests.filter(({ path }) => path.includes("from-svg")).length, 0, "an SVG loads nothing");

  // Of several those that can be read are taken.
  await give(["scan.pdf", Buffer.from("%PDF-1.7")], ["shapes.png", shapes], ["photo.jpg", jpeg]);
  await page.locator("#picture-note", { hasText: /^2 pictures · looked at/ }).waitFor();
  assert.match((await error.textContent()) ?? "", /^“scan\.pdf” is a PDF.*The other pictures were taken\.$/);

  // An address that is dragged in leads nowhere; text may be dropped into a field.
  const prevented = await page.evaluate(() => {
    const drop = (/** @type {string} */ type, /** @type {EventTarget} */ target) => {
      const data = new DataTransfer();
      data.items.add("https://example.org/cat.jpg", type);
      const events = ["dragover", "drop"].map((name) => new DragEvent(name, { dataTransfer: data, cancelable: true, bubbles: true }));
      return events.map((event) => !target.dispatchEvent(event));
    };
    const field = /** @type {HTMLElement} */ (document.getElementById("question"));
    return [drop("text/uri-list", document.body), drop("text/plain", field)];
  });
  assert.deepEqual(prevented, [[true, true], [false, false]]);
  assert.match((await error.textContent()) ?? "", /this page fetches no pictures from elsewhere/);
  await givePicture(page, "shapes.png", shapes);
  assert.equal((await ask(page, "What color is the triangle?")).text, "yellow");
  assertQuiet(problems);
});
