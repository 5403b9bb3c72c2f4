/**
 * The entry for developers: the engine without the page.
 *
 *     import { Model } from "./instructblip.js";
 *
 *     const model = await Model.load("./pocket/", { onProgress: console.log });
 *     await model.setPicture(new Uint8Array(await file.arrayBuffer()));
 *     const answer = await model.ask("What is in the picture?", { onToken: (token) => print(token.text) });
 *
 * Serve this file with `engine/` and `dist/` beside it.
 */
export { Model } from "./engine/engine.js";
export { InstructBlipError } from "./engine/errors.js";
