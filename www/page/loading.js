/** How far loading has come, for a bar that does not stand at its end while most of the wait is still to come. */

/** Where the bar is when all bytes have come: what follows, on the GPU, takes longer on many machines. */
const ARRIVED = 0.4;

/**
 * @param {Pick<import("../engine/protocol.js").Progress, "phase" | "loaded" | "total">} progress
 * @returns {number | null} from 0 to 1, null where it cannot be told
 */
export function shareOf({ phase, loaded, total }) {
  if (phase === "ready") return 1;
  if (phase === "manifest" || total === 0 || loaded >= total) return null;
  return (ARRIVED * loaded) / total;
}
