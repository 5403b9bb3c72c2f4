/** IndexedDB with promises: what `journal.js` needs of it. */

/**
 * @param {string} name
 * @param {Record<string, string | string[]>} stores each with its key
 * @returns {Promise<IDBDatabase>}
 */
export async function openDatabase(name, stores) {
  const request = indexedDB.open(name, 1);
  request.addEventListener("upgradeneeded", () => {
    for (const [store, keyPath] of Object.entries(stores)) request.result.createObjectStore(store, { keyPath });
  });
  const database = await settled(request);
  // Another tab has a newer version of the page, which wants other stores.
  database.addEventListener("versionchange", () => database.close());
  return database;
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
export function settled(request) {
  return new Promise((resolve, reject) => {
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error));
  });
}

/**
 * Changes several stores at once, all of it or nothing.
 *
 * @template {string} Name
 * @param {IDBDatabase} database
 * @param {Name[]} names
 * @param {(stores: Record<Name, IDBObjectStore>) => void} change
 * @returns {Promise<void>}
 */
export function written(database, names, change) {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(names, "readwrite");
    transaction.addEventListener("complete", () => resolve());
    transaction.addEventListener("abort", () => reject(transaction.error));
    change(/** @type {Record<Name, IDBObjectStore>} */ (Object.fromEntries(names.map((name) => [name, transaction.objectStore(name)]))));
    // Now, and not when the requests have answered: a page that is being left does not hear them.
    transaction.commit();
  });
}
