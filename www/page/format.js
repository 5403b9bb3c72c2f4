/** Figures for people: bytes, durations, rates. */

/**
 * @param {number} bytes
 * @returns {string} such as `9.4 MB` (decimal units, as browsers show downloads)
 */
export function bytes(bytes) {
  if (bytes < 1e3) return `${Math.round(bytes)}\u00a0${Math.round(bytes) === 1 ? "byte" : "bytes"}`;
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)}\u00a0kB`;
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)}\u00a0MB`;
  return `${(bytes / 1e9).toFixed(2)}\u00a0GB`;
}

/**
 * @param {number} milliseconds
 * @returns {string} such as `0.42 s` or `310 ms`
 */
export function duration(milliseconds) {
  if (milliseconds < 1) return "under 1 ms";
  if (milliseconds < 995) return `${Math.round(milliseconds)}\u00a0ms`;
  if (milliseconds < 9950) return `${(milliseconds / 1e3).toFixed(1)}\u00a0s`;
  return countdown(milliseconds / 1e3);
}

/**
 * @param {number} seconds
 * @returns {string} such as `4 s`, `3 min 20 s`, `1 h 05 min`
 */
export function countdown(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return `${whole}\u00a0s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

/**
 * @param {number} count
 * @returns {string} such as `4.0 billion` or `2.6 million`
 */
export function parameters(count) {
  if (count >= 1e9) return `${(count / 1e9).toFixed(1)} billion`;
  if (count >= 1e6) return `${(count / 1e6).toFixed(1)} million`;
  return `${Math.round(count / 1e3)} thousand`;
}

/**
 * @param {number} number
 * @param {string} thing
 * @returns {string} such as `1 token` or `7 tokens`
 */
export function count(number, thing) {
  return `${number} ${thing}${number === 1 ? "" : "s"}`;
}

/**
 * @param {number} share
 * @returns {string} such as `84 %`, `0.3 %` or `under 0.1 %`
 */
export function percent(share) {
  const percents = 100 * share;
  if (percents < 0.05) return "under\u00a00.1\u00a0%";
  return `${percents >= 10 ? percents.toFixed(0) : percents.toFixed(1)}\u00a0%`;
}

/**
 * @param {number} score
 * @returns {string} with three digits, and no minus where they are all zero
 */
export function score(score) {
  return score.toFixed(3).replace(/^-(0\.0*)$/, "$1");
}
