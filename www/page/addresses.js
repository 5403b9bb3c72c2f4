/**
 * From what somebody typed, or linked to, to the address of a model's folder. It knows nothing of
 * the page, and says what is wrong by a key of `words.js`, which is not there yet when `policy.js`
 * reads the page's own address.
 */

/** Why an address will not do. */
export class Unfit extends Error {
  /**
   * @param {"address.none" | "address.host" | "address.http" | "address.hub"} key of `words.js`
   * @param {Record<string, string>} params
   */
  constructor(key, params) {
    super(key);
    this.key = key;
    this.params = params;
  }
}

const HUB = "https://huggingface.co";

/**
 * @param {string} given
 * @param {URL} page the page's folder
 * @param {(origin: string) => boolean} [plain] whether an origin may be read over http
 * @returns {URL} the folder
 * @throws {Unfit}
 */
export function folderAt(given, page, plain = () => false) {
  const text = given.trim();
  if (/^(?!\.)[\w.-]+\/[\w.-]+$/.test(text) && !isHost(text)) throw new Unfit("address.hub", { name: text });
  const spelled = isHost(text) ? `${/^(localhost|127\.)/.test(text) ? "http" : "https"}://${text}` : text;
  const url = URL.canParse(spelled, page) ? new URL(spelled, page) : null;
  if (url?.protocol !== "https:" && url?.protocol !== "http:") throw new Unfit("address.none", { text });
  // A policy has no words for other hosts, and reads a * as any host.
  if (url.origin !== page.origin && !/^[a-z0-9.-]+$/.test(url.hostname)) throw new Unfit("address.host", { host: url.host });
  if (url.protocol === "http:" && url.origin !== page.origin && !plain(url.origin)) throw new Unfit("address.http", { host: url.host });
  // A file of the folder, or a repository's page at the hub, stands for the folder itself.
  url.pathname = url.pathname.replace(/\/[^/]+\.(json|safetensors|model|txt|md)$/i, "/");
  if (url.origin === HUB) url.pathname = url.pathname.replace(/^(\/[^/]+\/[^/]+)(\/tree\/([^/]+)\/?|\/?$)/, (_, name, __, revision) => `${name}/resolve/${revision ?? "main"}/`);
  return url;
}

/** Whether it begins with a host's name, without a scheme. @param {string} text */
function isHost(text) {
  return /^(localhost|[\w-]+(\.[\w-]+)*\.([a-z]{2,}|\d+))(:\d+)?(\/|$)/i.test(text) && !/^(javascript|data):/i.test(text);
}
