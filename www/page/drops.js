/**
 * Files that are dropped or pasted anywhere on the page, and addresses that are dragged in. Nothing
 * that is dropped leads away from the chat.
 *
 * In: `onFiles(files)`, `onAddress()` for something dragged in that is no file.
 */

/**
 * @param {HTMLElement} marked that shows where to drop
 * @param {{ onFiles: (files: File[]) => void, onAddress: () => void }} handlers
 */
export function listenForDrops(marked, { onFiles, onAddress }) {
  let depth = 0;
  const mark = (/** @type {number} */ by) => {
    depth = by === 0 ? 0 : Math.max(0, depth + by);
    marked.classList.toggle("over", depth > 0);
  };
  const hasFile = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  /** Text into a field, which is where the browser puts it. @param {DragEvent} event */
  const isTyping = ({ target }) => target instanceof HTMLTextAreaElement || target instanceof HTMLInputElement;
  document.addEventListener("dragenter", (event) => hasFile(event) && mark(1));
  document.addEventListener("dragleave", (event) => hasFile(event) && mark(-1));
  document.addEventListener("dragover", (event) => (hasFile(event) || !isTyping(event)) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!hasFile(event) && isTyping(event)) return;
    event.preventDefault();
    mark(0);
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) onFiles(files);
    else if (event.dataTransfer?.types.some((type) => type === "text/uri-list" || type === "text/html")) onAddress();
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return; // text: let it go where the cursor is
    event.preventDefault();
    onFiles(files);
  });
}
