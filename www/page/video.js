/** Still pictures out of a video file, by the browser's own decoder. */

import { say } from "./words.js";

/** A file that the browser cannot play may never say so. */
const PATIENCE_MS = 20_000;

/**
 * Frames from evenly spaced moments: the middles of `count` equal parts.
 *
 * @param {Blob} file
 * @param {number} count
 * @returns {Promise<Blob[]>} PNG files in the size of the video
 */
export async function sampleFrames(file, count) {
  const video = document.createElement("video");
  const address = URL.createObjectURL(file);
  video.muted = true;
  video.preload = "auto";
  video.src = address;
  try {
    await happens(video, "loadeddata");
    const duration = await durationOf(video);
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    const context = canvas.getContext("2d");
    if (!context || canvas.width === 0) throw new Error(say("video.none"));
    const frames = [];
    for (let at = 0; at < count; at++) {
      await seek(video, (duration * (at + 0.5)) / count);
      context.drawImage(video, 0, 0);
      frames.push(await png(canvas));
    }
    return frames;
  } finally {
    video.removeAttribute("src");
    video.load();
    URL.revokeObjectURL(address);
  }
}

/**
 * A recording of a browser does not know its length before it was read to its end.
 *
 * @param {HTMLVideoElement} video
 */
async function durationOf(video) {
  if (video.duration === Infinity) await seek(video, Number.MAX_SAFE_INTEGER);
  return Number.isFinite(video.duration) ? video.duration : video.currentTime;
}

/**
 * @param {HTMLVideoElement} video
 * @param {number} seconds
 */
function seek(video, seconds) {
  const done = happens(video, "seeked");
  video.currentTime = seconds;
  return done;
}

/** @param {HTMLCanvasElement} canvas @returns {Promise<Blob>} */
function png(canvas) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error(say("video.copy")))), "image/png");
  });
}

/**
 * @param {HTMLVideoElement} video
 * @param {"loadeddata" | "seeked"} event
 * @returns {Promise<void>}
 */
function happens(video, event) {
  return new Promise((resolve, reject) => {
    const ends = new AbortController();
    const { signal } = ends;
    const timer = setTimeout(() => fail(say("video.slow")), PATIENCE_MS);
    signal.addEventListener("abort", () => clearTimeout(timer));
    const fail = (/** @type {string} */ reason) => {
      ends.abort();
      reject(new Error(reason));
    };
    video.addEventListener("error", () => fail(video.error?.message || say("video.unplayable")), { signal });
    video.addEventListener(
      event,
      () => {
        ends.abort();
        resolve();
      },
      { signal },
    );
  });
}
