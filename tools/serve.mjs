/**
 * A static file server for the page: Node's own http, no packages.
 *
 * From the command line it serves a folder, on the loopback interface unless told otherwise:
 *
 *     node tools/serve.mjs [--root www] [--mount /model=FOLDER]... [--allow ORIGIN]... [--port 8080] [--host 127.0.0.1]
 *
 * `--allow` lets the page load models from an http origin, such as another server of this machine;
 * the page's own policy knows only https.
 *
 * Only requests for this machine or the given host are answered, else a page anywhere could have
 * its own name lead here and read what is served. Links out of the served folders lead nowhere.
 *
 * Tests import `serve` and give it a `hook` that may answer a request in the server's place, to
 * inject faults; with `record` every request is kept in `requests`.
 */
import { createReadStream } from "node:fs";
import { readFile, realpath, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { isIP } from "node:net";
import { extname, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** @type {Record<string, string>} */
const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".gif": "image/gif",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".jpeg": "image/jpeg",
  ".jpg": "image/jpeg",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".png": "image/png",
  ".safetensors": "application/octet-stream",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
  ".webp": "image/webp",
};

/**
 * What a host should send with the page; the rest of its policy is in the page itself. `www/sw.js`
 * sends the same, and docs/hosting.md says how other servers do.
 */
const PAGE_HEADERS = {
  "content-security-policy": "frame-ancestors 'none'",
  "cross-origin-opener-policy": "same-origin",
  "permissions-policy": "camera=(), microphone=(), geolocation=(), display-capture=()",
  "referrer-policy": "no-referrer",
};

/** Where the page's own policy ends its list of hosts. */
const HOSTS = "connect-src 'self' https:";

/**
 * @typedef {object} Served One finished or running request.
 * @property {string} method
 * @property {string} path with its query
 * @property {number} status
 * @property {number} bytes of the body sent
 *
 * @typedef {{ status?: number, headers?: Record<string, string>, body?: string | Uint8Array, never?: boolean, write?: (response: import("node:http").ServerResponse) => void }} Reply
 * `never` keeps the request open without an answer; `write` answers in its own way, byte by byte.
 *
 * @typedef {(request: { method: string, path: string, file: string | null, headers: import("node:http").IncomingHttpHeaders }) => Reply | null | undefined | Promise<Reply | null | undefined>} Hook
 * `path` is decoded and has no query; `file` is the file that would be sent.
 *
 * @typedef {object} Options
 * @property {string} root the folder served at `/`
 * @property {Record<string, string>} [mounts] folders served elsewhere, such as `{ "/model": "/data/set" }`
 * @property {number} [port] 0 takes a free one
 * @property {string} [host]
 * @property {Hook} [hook]
 * @property {boolean} [record] whether to keep the requests
 * @property {string[]} [allow] origins that the page may reach besides https ones
 *
 * @typedef {object} Server
 * @property {string} url of the root, with a slash at its end
 * @property {number} port
 * @property {Served[]} requests
 * @property {() => Promise<void>} close
 */

/**
 * The file that a request's path names, or null if it names none inside the served folders.
 *
 * @param {string} path decoded
 * @param {string} root
 * @param {Record<string, string>} mounts
 * @returns {string | null}
 */
export function fileOf(path, root, mounts) {
  let folder = root;
  let rest = path;
  for (const [prefix, target] of Object.entries(mounts)) {
    if (path.startsWith(`${prefix}/`)) [folder, rest] = [target, path.slice(prefix.length)];
  }
  if (rest.includes("\0") || rest.includes("\\")) return null;
  const base = resolve(folder);
  const file = resolve(base, `.${rest.endsWith("/") ? `${rest}index.html` : rest}`);
  return file.startsWith(base + sep) ? file : null;
}

/**
 * Whether a request's Host header names this server.
 *
 * @param {string | undefined} header
 * @param {string} host that the server was told to listen on
 */
export function isKnownHost(header, host) {
  const name = (header ?? "").toLowerCase().replace(/:\d*$/, "").replace(/^\[(.*)\]$/, "$1");
  if (["localhost", "127.0.0.1", "::1", host.toLowerCase()].includes(name)) return true;
  // On all interfaces: by whatever number, which no name server can give away.
  return ["0.0.0.0", "::"].includes(host) && isIP(name) !== 0;
}

/**
 * @param {string} file
 * @param {string[]} folders the real ones
 * @returns {Promise<number | null>} its bytes, or null where there is no such file in the folders
 */
async function sizeOf(file, folders) {
  try {
    const real = await realpath(file);
    const found = await stat(real);
    return found.isFile() && folders.some((folder) => real.startsWith(folder + sep)) ? found.size : null;
  } catch {
    return null;
  }
}

/**
 * Starts a server.
 *
 * @param {Options} options
 * @returns {Promise<Server>}
 */
export async function serve(options) {
  const { root, mounts = {}, port = 0, host = "127.0.0.1", hook, record = false, allow = [] } = options;
  /** @type {Served[]} */
  const requests = [];

  /**
   * @param {import("node:http").IncomingMessage} request
   * @param {import("node:http").ServerResponse} response
   */
  async function answer(request, response) {
    const method = request.method ?? "GET";
    const raw = request.url ?? "/";
    /** @type {Served} */
    const served = { method, path: raw, status: 0, bytes: 0 };
    if (record) requests.push(served);
    /** @param {number} status @param {Record<string, string | number>} headers @param {string | Uint8Array} body */
    const send = (status, headers, body) => {
      served.status = status;
      served.bytes = method === "HEAD" ? 0 : Buffer.byteLength(body);
      response.writeHead(status, {
        "cache-control": "no-cache",
        "x-content-type-options": "nosniff",
        "content-length": Buffer.byteLength(body),
        ...headers,
      });
      response.end(method === "HEAD" ? undefined : body);
    };
    const text = { "content-type": "text/plain; charset=utf-8" };
    if (!isKnownHost(request.headers.host, host)) return send(403, text, "Not by this name.\n");
    if (method !== "GET" && method !== "HEAD") return send(405, text, "Only GET and HEAD.\n");
    let path;
    try {
      path = decodeURIComponent(raw.split(/[?#]/, 1)[0] ?? "/");
    } catch {
      return send(400, text, "A malformed path.\n");
    }
    const file = fileOf(path, root, mounts);
    const reply = await hook?.({ method, path, file, headers: request.headers });
    if (reply?.never) return;
    if (reply?.write) return reply.write(response);
    const type = TYPES[extname(file ?? path)] ?? "application/octet-stream";
    if (reply) return send(reply.status ?? 200, { "content-type": type, ...reply.headers }, reply.body ?? "");
    if (file === null) return send(404, text, "No such file.\n");
    // A packed copy beside the file is sent to a browser that reads it.
    const folders = await Promise.all([root, ...Object.values(mounts)].map((folder) => realpath(folder).catch(() => resolve(folder))));
    const packed = /\bbr\b/.test(String(request.headers["accept-encoding"] ?? "")) ? await sizeOf(`${file}.br`, folders) : null;
    const size = packed ?? (await sizeOf(file, folders));
    if (size === null) return send(404, text, "No such file.\n");
    if (allow.length && type === TYPES[".html"]) {
      const page = (await readFile(file, "utf8")).replace(HOSTS, [HOSTS, ...allow].join(" "));
      return send(200, { "content-type": type, ...PAGE_HEADERS }, page);
    }
    // Tells a browser that asks again that its copy is still right.
    const etag = `"${size}-${Math.round((await stat(packed === null ? file : `${file}.br`)).mtimeMs)}"`;
    if (request.headers["if-none-match"] === etag) {
      served.status = 304;
      return void response.writeHead(304, { etag, "cache-control": "no-cache" }).end();
    }
    served.status = 200;
    served.bytes = method === "HEAD" ? 0 : size;
    response.writeHead(200, {
      etag,
      "content-type": type,
      "content-length": size,
      ...(packed === null ? {} : { "content-encoding": "br", vary: "accept-encoding" }),
      // A shard's name holds its hash, so it never changes.
      "cache-control": /-[0-9a-f]{16}\.safetensors$/.test(file) ? "max-age=31536000, immutable" : "no-cache",
      "x-content-type-options": "nosniff",
      ...(type === TYPES[".html"] ? PAGE_HEADERS : {}),
    });
    if (method === "HEAD") return void response.end();
    createReadStream(packed === null ? file : `${file}.br`)
      .on("error", () => response.destroy())
      .pipe(response);
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      console.error(error);
      response.destroy();
    });
  });
  await new Promise((done, failed) => {
    server.once("error", failed);
    server.listen(port, host, () => done(undefined));
  });
  const address = server.address();
  const bound = typeof address === "object" && address ? address.port : port;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${bound}/`,
    port: bound,
    requests,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

async function main() {
  const { values } = parseArgs({
    options: {
      root: { type: "string", default: fileURLToPath(new URL("../www", import.meta.url)) },
      mount: { type: "string", multiple: true, default: [] },
      allow: { type: "string", multiple: true, default: [] },
      port: { type: "string", default: "8080" },
      host: { type: "string", default: "127.0.0.1" },
      // Ends with the program that started it: when the pipe to its standard input closes.
      child: { type: "boolean", default: false },
    },
  });
  if (values.child) process.stdin.resume().on("end", () => process.exit());
  const mounts = Object.fromEntries(
    values.mount.map((mount) => {
      const at = mount.indexOf("=");
      if (at < 2 || !mount.startsWith("/")) throw new Error(`--mount ${mount}: give /name=FOLDER`);
      return [mount.slice(0, at), mount.slice(at + 1)];
    }),
  );
  const allow = values.allow.map((address) => new URL(address).origin);
  const server = await serve({ root: values.root, mounts, port: Number(values.port), host: values.host, allow });
  console.log(server.url);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  });
}
