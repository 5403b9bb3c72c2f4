/**
 * The addresses of the two scripts that this project starts apart from the page: the engine's
 * worker and the page's service worker.
 *
 * Where a page demands Trusted Types, as ours does, a browser starts no other: the policy that
 * makes these two is not handed out. A page without the demand, or a browser that does not know
 * it, takes the plain addresses.
 */

/** @typedef {{ createScriptURL: (address: string) => any }} TrustedPolicy */

const policy = makePolicy();

/** @returns {TrustedPolicy} */
function makePolicy() {
  const rules = { createScriptURL: (/** @type {string} */ address) => address };
  try {
    return /** @type {any} */ (self).trustedTypes?.createPolicy("instructblip", rules) ?? rules;
  } catch {
    return rules; // the page that embeds the engine does not allow a policy of this name
  }
}

/**
 * A `blob:` address of the engine's worker, to be revoked when it has been read.
 *
 * @returns {{ script: string, address: string, trusted: any }} with the address of its file
 */
export function workerAddress() {
  const script = new URL("./worker.js", import.meta.url).href;
  const source = new Blob([`import ${JSON.stringify(script)};`], { type: "text/javascript" });
  const address = URL.createObjectURL(source);
  return { script, address, trusted: policy.createScriptURL(address) };
}

/** @returns {any} the address of the service worker of the page that these files belong to */
export function serviceWorkerAddress() {
  return policy.createScriptURL(new URL("../sw.js", import.meta.url).href);
}
