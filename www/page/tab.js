/**
 * Which tab this is: a number in the session storage, which lives as long as the tab, through
 * reloads and through being thrown away by the system. A duplicated tab gets a copy of it; since
 * every tab holds a lock under its number for as long as it lives, the second one notices.
 */
import { readTab, writeTab } from "./storage.js";

const KEY = "instructblip-tab";
/** A page that is being left gives its lock back within this time. */
const PATIENCE_MS = 1500;

/** @returns {Promise<{ tab: string, copyOf: string | null }>} */
export async function whichTab() {
  const known = readTab(KEY);
  if (typeof known === "string" && (await hold(known))) return { tab: known, copyOf: null };
  const tab = crypto.randomUUID();
  writeTab(KEY, tab);
  await hold(tab);
  return { tab, copyOf: typeof known === "string" ? known : null };
}

/**
 * Holds the lock of a number until the page goes.
 *
 * @param {string} tab
 * @returns {Promise<boolean>} whether nobody else does; true where the browser has no locks
 */
function hold(tab) {
  return new Promise((resolve) => {
    if (!navigator.locks) return resolve(true);
    const held = () => {
      resolve(true);
      return new Promise(() => {});
    };
    navigator.locks.request(`${KEY} ${tab}`, { signal: AbortSignal.timeout(PATIENCE_MS) }, held).catch(() => resolve(false));
  });
}
