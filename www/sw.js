/**
 * The service worker: keeps the page's own files, so that a visit without a network works.
 *
 * The network comes first, so an update arrives with the next visit, and every answer replaces
 * the kept copy; the copy serves where there is no network. The files of models are none of its
 * business: `engine/store.js` keeps those, under their hashes.
 */
const CACHE = "instructblip-page";

/** Everything that the page consists of; a test compares this list with the folder. */
const FILES = [
  "./",
  "app.js",
  "icon.svg",
  "instructblip.js",
  "style.css",
  "dist/instructblip_web.js",
  "dist/instructblip_web_bg.wasm",
  "engine/engine.js",
  "engine/errors.js",
  "engine/prompts.js",
  "engine/protocol.js",
  "engine/store.js",
  "engine/worker.js",
  "examples/crowd.png",
  "examples/digits.png",
  "examples/examples.json",
  "examples/held-out.png",
  "examples/letters.png",
  "examples/pair.png",
  "examples/shapes.png",
  "page/answers.css",
  "page/chat.js",
  "page/composer.css",
  "page/composer.js",
  "page/dom.js",
  "page/drawer.css",
  "page/format.js",
  "page/looked.js",
  "page/map.css",
  "page/map_panel.js",
  "page/model_panel.js",
  "page/picture_panel.js",
  "page/settings.js",
  "page/storage.js",
  "page/stored_models.js",
  "page/turn.js",
  "page/video.js",
];

/** What TypeScript does not know without the library of service workers. */
const scope = /** @type {any} */ (self);
const OURS = new Set(FILES.map((file) => new URL(file, self.location.href).href));

scope.addEventListener("install", (/** @type {any} */ event) => {
  event.waitUntil(
    (async () => {
      await (await caches.open(CACHE)).addAll(FILES);
      await scope.skipWaiting();
    })(),
  );
});

scope.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(scope.clients.claim()));

scope.addEventListener("fetch", (/** @type {any} */ event) => {
  const { method, url } = event.request;
  const key = url.split(/[?#]/, 1)[0];
  if (method === "GET" && OURS.has(key)) event.respondWith(answer(event, key));
});

/**
 * @param {any} event
 * @param {string} key the address without its query
 * @returns {Promise<Response>}
 */
async function answer(event, key) {
  try {
    const response = await fetch(event.request);
    if (response.ok) {
      const copy = response.clone();
      // A full disk only means that there is no copy.
      event.waitUntil(caches.open(CACHE).then((cache) => cache.put(key, copy)).catch(() => {}));
    }
    return response;
  } catch (error) {
    const kept = await caches.match(key, { cacheName: CACHE });
    if (kept) return kept;
    throw error;
  }
}
