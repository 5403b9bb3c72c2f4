/** How far loading has come, for a bar that does not stand at its end while most of the wait is still to come. */

/** Where the bar is when all bytes have come: the pipelines that are still to be compiled take longer on many machines. */
const ARRIVED = 0.4;

/**
 * @param {Pick<import("../engine/protocol.js").Progress, "phase" | "loaded" | "total" | "compiled" | "pipelines">} progress
 * @returns {number | null} from 0 to 1, null where it cannot be told
 */
export function shareOf({ phase, loaded, total, compiled, pipelines }) {
  if (phase === "ready") return 1;
  if (phase === "manifest" || total === 0) return null;
  if (loaded < total) return (ARRIVED * loaded) / total;
  // What comes after the last pipeline takes no time to speak of, but the bar is full only when it is done.
  return compiled < pipelines ? ARRIVED + ((1 - ARRIVED) * compiled) / pipelines : null;
}
