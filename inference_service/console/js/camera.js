/** The device's camera: a still, or frame after frame with one look under way at a time. */

import { el } from "./dom.js";

const QUALITY = 0.92;

export class Camera {
  constructor() {
    this.video = el("video.camera", { playsinline: true, autoplay: true, "t-aria-label": "camera.preview" });
    this.video.muted = true;
    this.stream = null;
  }

  /** Whether this page may ask for a camera at all: browsers allow it on https and on this machine only. */
  static available() {
    return Boolean(navigator.mediaDevices?.getUserMedia);
  }

  async start() {
    const wanted = { facingMode: { ideal: "environment" }, width: { ideal: 4096 }, height: { ideal: 2160 } };
    this.stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    this.video.srcObject = this.stream;
    await this.video.play();
  }

  stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.video.srcObject = null;
  }

  /** What it sees now: {blob, name, at, captured}, `at` of performance.now; null where it shows nothing. */
  async frame() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width) return null;
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    const at = performance.now();
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
    return { blob, name: "camera.jpg", at, captured: new Date() };
  }
}
