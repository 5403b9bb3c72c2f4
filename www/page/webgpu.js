/** What to do where the browser gives no GPU: a sentence for the system at hand. */

/** @typedef {import("./words.js").Key} Key */

/**
 * @param {string} agent as `navigator.userAgent`
 * @param {boolean} secure whether the page came over https, or from this machine
 * @returns {Key} of the sentence
 */
export function advice(agent, secure) {
  if (!secure) return "gpu.insecure";
  const ios = /iPhone|iPad|iPod/.test(agent);
  if (ios) return "gpu.ios"; // every browser there is Safari's engine
  if (/Firefox\//.test(agent)) return /Windows|Macintosh/.test(agent) ? "gpu.firefox" : "gpu.firefoxOther";
  if (/Android/.test(agent)) return "gpu.android";
  if (/Chrome\//.test(agent)) return /Linux/.test(agent) && !/CrOS/.test(agent) ? "gpu.chromeLinux" : "gpu.chrome";
  if (/Macintosh/.test(agent)) return "gpu.safari";
  return "gpu.other";
}
