/**
 * The entry for developers: the engine without the page.
 *
 *     import { Model, prompts } from "./instructblip.js";
 *
 *     const model = await Model.load("./pocket/", { onProgress: console.log });
 *     await model.setPicture(new Uint8Array(await file.arrayBuffer()));
 *     const answer = await model.ask("What is in the picture?", { onToken: (token) => print(token.text) });
 *     const beams = await model.ask(prompts.caption(), { numBeams: 5, numReturnSequences: 3 });
 *     const ranked = await model.rank(prompts.shortAnswer("What animal is it?"), ["a cat", "a dog"]);
 *     const { side, pictures } = await model.attention("Where is the cat?");
 *
 * `cachedModels()` lists what this browser has stored, `deleteCachedModel(url)` deletes one.
 *
 * Serve this file with `engine/` and `dist/` beside it.
 */
export { Conversation } from "./engine/conversation.js";
export { Model } from "./engine/engine.js";
export { InstructBlipError } from "./engine/errors.js";
export { prompts } from "./engine/prompts.js";
export { cachedModels, deleteCachedModel, deleteCachedModels, keepStorage } from "./engine/store.js";
