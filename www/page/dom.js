/**
 * Two helpers around the DOM: a typed look-up and an element maker. Text always goes in through
 * `textContent`, so nothing that a model or a file says can become markup.
 */

/**
 * The element with this id, which must be of this class.
 *
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function byId(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return element;
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} className
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/**
 * Shows an error's sentence; its code, which is for reports, is the place's title. `null` clears both.
 *
 * @param {HTMLElement} place
 * @param {import("../engine/protocol.js").PlainError | null} error
 */
export function showError(place, error) {
  place.hidden = error === null;
  place.textContent = error?.message ?? "";
  place.title = place.dataset.code = error?.code ?? "";
  if (error) place.scrollIntoView({ block: "nearest" });
}
