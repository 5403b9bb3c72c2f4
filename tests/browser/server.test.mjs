/** The development server: whom it answers, and what it gives away. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isKnownHost, serve } from "../../tools/serve.mjs";

/**
 * @param {import("../../tools/serve.mjs").Server} server
 * @param {string} path
 * @param {Record<string, string>} [headers]
 * @returns {Promise<{ status: number | undefined, text: string, headers: import("node:http").IncomingHttpHeaders }>}
 */
function get(server, path, headers = {}) {
  return new Promise((done, failed) => {
    const asked = request({ host: "127.0.0.1", port: server.port, path, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part) => (text += part));
      response.on("end", () => done({ status: response.statusCode, text, headers: response.headers }));
    });
    asked.on("error", failed).end();
  });
}

/**
 * Folders to serve, and one beside them, which links lead to.
 *
 * @param {{ after: (end: () => Promise<void>) => void }} t
 */
async function folders(t) {
  const base = await mkdtemp(join(tmpdir(), "instructblip-serve-"));
  t.after(() => rm(base, { recursive: true, force: true }));
  const [root, model, secret] = [join(base, "root"), join(base, "model"), join(base, "secret")];
  for (const folder of [root, model, secret]) await mkdir(folder);
  await writeFile(join(root, "a.txt"), "a");
  await writeFile(join(root, "index.html"), `<meta content="connect-src 'self' https:; base-uri 'none'">`);
  await writeFile(join(model, "m.txt"), "m");
  await writeFile(join(secret, "s.txt"), "s");
  return { base, root, model, secret };
}

test("only requests for this machine, or the host it was told, are answered", async (t) => {
  const { root } = await folders(t);
  const server = await serve({ root });
  t.after(server.close);
  const { port } = server;
  for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, "LOCALHOST", "[::1]:80", "127.0.0.1"]) {
    assert.equal((await get(server, "/a.txt", { host })).status, 200, host);
  }
  for (const host of ["evil.example", `evil.example:${port}`, "127.0.0.1.evil.example", "localhost.evil.example", "192.168.0.7", "0.0.0.0"]) {
    assert.equal((await get(server, "/a.txt", { host })).status, 403, host);
  }
});

test("a server on all interfaces goes by its numbers, one with a name by that", () => {
  for (const all of ["0.0.0.0", "::"]) {
    assert.ok(isKnownHost("192.168.0.7:8080", all));
    assert.ok(isKnownHost("[fe80::1]:8080", all));
    assert.ok(isKnownHost("localhost:8080", all));
    assert.ok(!isKnownHost("evil.example:8080", all));
  }
  assert.ok(isKnownHost("desk.local:8080", "desk.local"));
  assert.ok(!isKnownHost("evil.example", "desk.local"));
  assert.ok(!isKnownHost("192.168.0.8", "192.168.0.7"));
  assert.ok(!isKnownHost(undefined, "0.0.0.0"));
});

test("links lead nowhere but into served folders, which may be links themselves", async (t) => {
  const { base, root, model, secret } = await folders(t);
  await symlink(secret, join(root, "out"));
  await symlink(join(secret, "s.txt"), join(root, "file.txt"));
  await symlink(join(secret, "s.txt"), join(root, "a.txt.br"));
  await symlink(join(root, "a.txt"), join(root, "inside.txt"));
  await symlink(join(model, "m.txt"), join(root, "mounted.txt"));
  await symlink(root, join(base, "linked"));
  await symlink(model, join(base, "linked-model"));
  const server = await serve({ root: join(base, "linked"), mounts: { "/model": join(base, "linked-model") } });
  t.after(server.close);
  for (const path of ["/out/s.txt", "/file.txt"]) assert.equal((await get(server, path)).status, 404, path);
  assert.equal((await get(server, "/a.txt", { "accept-encoding": "br" })).text, "a", "not the packed copy, which leads out");
  for (const [path, text] of Object.entries({ "/a.txt": "a", "/inside.txt": "a", "/model/m.txt": "m", "/mounted.txt": "m" })) {
    assert.equal((await get(server, path)).text, text, path);
  }
});

test("requests are kept only where a test asks for them", async (t) => {
  const { root } = await folders(t);
  for (const record of [undefined, true]) {
    const server = await serve({ root, ...(record && { record }) });
    t.after(server.close);
    await get(server, "/a.txt");
    assert.equal(server.requests.length, record ? 1 : 0);
  }
});

test("the page's policy names an http origin only where the command line does", async (t) => {
  const { root } = await folders(t);
  const server = await serve({ root });
  const allowing = await serve({ root, allow: ["http://localhost:9000"] });
  t.after(server.close);
  t.after(allowing.close);
  assert.match((await get(server, "/")).text, /connect-src 'self' https:;/);
  assert.match((await get(allowing, "/")).text, /connect-src 'self' https: http:\/\/localhost:9000;/);
  for (const { headers } of [await get(server, "/"), await get(allowing, "/")]) {
    assert.equal(headers["content-security-policy"], "frame-ancestors 'none'");
    assert.equal(headers["cross-origin-opener-policy"], "same-origin");
  }
});
