/** What lies beside the conversation: the language, "About this page", and whether it works offline. */
import { cachedModels } from "../engine/store.js";
import { byId, drawer } from "./dom.js";
import { LANGUAGES, language, say, speak } from "./words.js";

/** Brings the foot of the page to life. */
export function offerFoot() {
  const languages = byId("language", HTMLSelectElement);
  for (const [code, name] of Object.entries(LANGUAGES)) languages.add(new Option(name, code, false, code === language));
  languages.addEventListener("change", () => speak(languages.value));
  drawer(byId("about", HTMLDialogElement), byId("about-open", HTMLButtonElement), byId("about-close", HTMLButtonElement));
}

/**
 * Says that the next visit needs no network, once both the page and the model are kept.
 *
 * @param {string} url of the model
 */
export async function noteOffline(url) {
  await navigator.serviceWorker?.ready;
  const kept = (await cachedModels()).some((model) => model.url === url && model.complete);
  byId("offline-note", HTMLElement).textContent = kept && navigator.serviceWorker ? say("page.offline") : "";
}
