/**
 * Helpers around the DOM: look-up, elements, errors, focus, drawers. Text always goes in through
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

/**
 * Before `from` goes away: the focus, if it is there, must not fall to the page.
 *
 * @param {HTMLElement} from
 * @param {HTMLElement} to
 */
export function handFocus(from, to) {
  if (from.contains(document.activeElement)) to.focus();
}

/**
 * A dialog at the side, with what opens and what closes it; so does Escape, and a click beside it.
 *
 * @param {HTMLDialogElement} dialog
 * @param {HTMLButtonElement} open
 * @param {HTMLButtonElement} close
 */
export function drawer(dialog, open, close) {
  open.addEventListener("click", () => dialog.showModal());
  close.addEventListener("click", () => dialog.close());
  // A click beside it is one on the dialog's backdrop, which has no child there.
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
}
