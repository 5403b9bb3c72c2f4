/** Small things that this browser keeps, where it allows that; a visitor without storage only loses them. */

/**
 * @param {() => Storage} storage a function, since asking for a denied one throws
 * @returns {{ read: (key: string) => unknown, write: (key: string, value: unknown) => void }} to
 *   read what was kept, or null, and to write; null forgets
 */
function over(storage) {
  return {
    read(key) {
      try {
        return JSON.parse(storage().getItem(key) ?? "null");
      } catch {
        return null;
      }
    },
    write(key, value) {
      try {
        if (value === null) storage().removeItem(key);
        else storage().setItem(key, JSON.stringify(value));
      } catch {
        // Storage is denied or full.
      }
    },
  };
}

/** For all visits. */
export const { read, write } = over(() => localStorage);
/** For as long as this tab is there. */
export const { read: readTab, write: writeTab } = over(() => sessionStorage);
