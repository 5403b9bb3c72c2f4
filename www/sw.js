/**
 * The service worker: keeps the page's own files, so that a visit without a network works, and
 * gives the page headers that its host may not send.
 *
 * The network comes first, so an update arrives with the next visit. The kept copy is one version
 * of the page: `dist/page_files.js` lists its files with their hashes, all of them are fetched and
 * compared when this worker is installed, and none is replaced later. A new list is a new worker
 * with a copy of its own, which takes over when no page of the old version is open. The files of
 * models are none of its business: `engine/store.js` keeps those.
 */
/** What TypeScript does not know without the library of service workers. */
const scope = /** @type {any} */ (self);
scope.importScripts("dist/page_files.js");

/** @type {{ version: string, files: Record<string, string> }} made by tools/page_files.mjs */
const { version, files } = scope.PAGE;
/** Several such pages may share an origin, and with it the names of caches. */
const COPIES = `instructblip-page ${new URL("./", self.location.href).pathname} `;
const COPY = COPIES + version;
const HOME = new URL("./", self.location.href).href;
const OURS = new Set(Object.keys(files).map((file) => new URL(file, HOME).href));

/** For the page itself, unless its host sends them; docs/hosting.md says why. @type {Record<string, string>} */
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Permissions-Policy": "camera=(), microphone=(), geolocation=(), display-capture=()",
  "Referrer-Policy": "no-referrer",
};
const FRAMES = "frame-ancestors 'none'";

/** The page came from the copy: so must its files, since the network may have another version. */
let offline = false;

scope.addEventListener("install", (/** @type {any} */ event) => event.waitUntil(keep()));

scope.addEventListener("activate", (/** @type {any} */ event) => {
  const clean = async () => {
    const old = (await caches.keys()).filter((name) => name.startsWith(COPIES) && name !== COPY);
    await Promise.all([...old, "instructblip-page"].map((name) => caches.delete(name)));
    await scope.clients.claim();
  };
  event.waitUntil(clean());
});

scope.addEventListener("fetch", (/** @type {any} */ event) => {
  const { method, url } = event.request;
  const key = url.split(/[?#]/, 1)[0];
  if (method === "GET" && OURS.has(key)) event.respondWith(answer(event.request, key));
});

/** Fetches every file of this version, and fails unless each is what the list says. */
async function keep() {
  const kept = await Promise.all(
    Object.entries(files).map(async ([file, sha256]) => {
      const url = new URL(file, HOME).href;
      const response = await fetch(url, { cache: "no-cache" });
      const copy = response.clone();
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await response.arrayBuffer()));
      const found = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      const sound = response.ok && response.type === "basic" && !response.redirected && found === sha256;
      if (!sound) throw new Error(`${file} is not the one of this version`);
      return /** @type {const} */ ([url, copy]);
    }),
  );
  const cache = await caches.open(COPY);
  await Promise.all(kept.map(([url, response]) => cache.put(url, response)));
}

/**
 * @param {Request} request
 * @param {string} key the address without its query
 * @returns {Promise<Response>}
 */
async function answer(request, key) {
  const kept = () => caches.match(key, { cacheName: COPY });
  const page = key === HOME && request.mode === "navigate";
  if (offline && !page) return (await kept()) ?? fetch(request);
  try {
    const response = await fetch(request);
    if (page) offline = false;
    return page ? withHeaders(response) : response;
  } catch (error) {
    const copy = await kept();
    if (!copy) throw error;
    if (page) offline = true;
    return page ? withHeaders(copy) : copy;
  }
}

/**
 * @param {Response} response
 * @returns {Response}
 */
function withHeaders(response) {
  if (response.type !== "basic" || !response.ok || response.redirected) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) if (!headers.has(name)) headers.set(name, value);
  if (!headers.get("Content-Security-Policy")?.includes("frame-ancestors")) headers.append("Content-Security-Policy", FRAMES);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
