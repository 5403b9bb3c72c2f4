/**
 * Narrows what this visit may fetch, before anything else of the page runs: `app.js` imports this
 * file first, and modules run in the order in which they are imported.
 *
 * In: the page's address, whose `?model=` may name a model, and what the visitor chose in this
 * entry of the tab's history. Out: `asked`, the model that the address asks for; `choose(url)`,
 * for the visitor's choice; and a Content-Security-Policy beside the one in index.html. That one
 * allows any https host, because it cannot know the model's; this one allows the page's own origin,
 * and the model's where the visitor chose it. Policies only narrow, so a page that must reach
 * another host is opened anew. The engine's worker inherits both.
 */

import { Unfit, folderAt } from "./addresses.js";

const POCKET = "./pocket/";
/** The folder of the page. */
const OWN = new URL("./", document.baseURI);
/** Hosts that known hubs send on to when a file is asked for; a policy checks those too. */
const REDIRECTS = new Map([["https://huggingface.co", ["https://*.hf.co", "https://*.huggingface.co"]]]);
/** The one foreign origin that may be reached. @type {string | null} */
let reachable = null;

/** The http origins that the page's own policy lets it read, which a server of this machine may have added. */
const PLAIN = new Set(document.querySelector('meta[http-equiv="Content-Security-Policy"]')?.getAttribute("content")?.match(/\bhttp:[^\s;]+/g));
const folder = (/** @type {string} */ text) => folderAt(text, OWN, (origin) => PLAIN.has(origin));

/**
 * Whether nobody needs to be asked: a folder below the page's own. The rest of the origin may be
 * other people's.
 *
 * @param {URL} url
 */
function isOurs(url) {
  // Some servers read an encoded slash as a slash, and then .. leads out.
  return url.origin === OWN.origin && url.pathname.startsWith(OWN.pathname) && !/%2f|%5c/i.test(url.pathname);
}

/** @returns {string | null} what the visitor chose in this entry of the history */
function chosen() {
  const state = /** @type {unknown} */ (history.state);
  return state && typeof state === "object" && "chosen" in state && typeof state.chosen === "string" ? state.chosen : null;
}

/** @param {URL} url a model that may be loaded */
function narrow(url) {
  reachable = url.origin === OWN.origin ? null : url.origin;
  const sources = reachable === null ? [] : [reachable, ...(REDIRECTS.get(reachable) ?? [])];
  const meta = document.createElement("meta");
  meta.httpEquiv = "Content-Security-Policy";
  meta.content = ["connect-src", "'self'", ...sources].join(" ");
  document.head.append(meta);
}

/**
 * The model that the page's address asks for.
 *
 * @typedef {object} Asked
 * @property {string} url
 * @property {boolean} agreed whether it may be loaded without asking the visitor
 * @property {Unfit | null} problem where it is no address that will do
 * @property {string | null} question that the address suggests; nobody but the visitor asks it
 */

/** @returns {Asked} */
function readAddress() {
  const given = new URLSearchParams(location.search);
  const text = given.get("model") ?? POCKET;
  const question = given.get("q");
  try {
    const url = folder(text);
    const agreed = isOurs(url) || chosen() === url.href;
    narrow(agreed ? url : OWN);
    return { url: url.href, agreed, problem: null, question };
  } catch (error) {
    narrow(OWN);
    return { url: text, agreed: false, problem: error instanceof Unfit ? error : new Unfit("address.none", { text }), question };
  }
}

export const asked = readAddress();

/**
 * An address of this page for others, who are asked before another host's model is loaded.
 *
 * @param {string} model its address
 * @param {string} question to suggest, or empty
 */
export function linkTo(model, question) {
  const page = new URL(OWN);
  const url = new URL(model, OWN).href;
  if (url !== new URL(POCKET, OWN).href) page.searchParams.set("model", url);
  if (question) page.searchParams.set("q", question);
  return page.href;
}

/**
 * Notes the visitor's choice in the page's address and narrows the policy to it.
 *
 * @param {string} text
 * @returns {string | null} the address to load from; null where the page is opened anew for it
 * @throws {Unfit}
 */
export function choose(text) {
  const url = folder(text);
  const page = new URL(linkTo(url.href, ""));
  history.replaceState({ chosen: url.href }, "", page);
  if (url.origin === OWN.origin || url.origin === reachable) {
    narrow(url);
    return url.href;
  }
  location.reload();
  return null;
}
