/** Small settings that this browser keeps, where it allows that; a visitor without storage only loses them. */

/**
 * @param {string} key
 * @returns {unknown} what was kept, or null
 */
export function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/**
 * @param {string} key
 * @param {unknown} value null forgets it
 */
export function write(key, value) {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Storage is denied or full.
  }
}
