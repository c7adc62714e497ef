/** The camera, one frame at a time; frames that come meanwhile are dropped. */
import { element } from "./dom.js";

const ADVICE: Record<string, string> = {
  NotAllowedError: "the camera was refused; allow it for this page in the browser's settings",
  NotFoundError: "this device has no camera; choose a photo instead",
  NotReadableError: "another program uses the camera; close it first",
};
const WANTED = { width: { ideal: 640 }, height: { ideal: 480 } };

export class Camera {
  private readonly video = element("video", "video");
  private stream: MediaStream | null = null;
  private facing: "environment" | "user" = "environment";

  /** `onFrame` is awaited before the next frame is looked at; `onEnd` is called when the stream has ended. */
  constructor(
    private readonly onFrame: (video: HTMLVideoElement) => Promise<void>,
    private readonly onEnd: () => void,
  ) {
    document.addEventListener("visibilitychange", () => document.hidden && this.stop());
  }

  get running(): boolean {
    return this.stream !== null;
  }

  /** Throws one line that says what to do. */
  async start(): Promise<void> {
    if (this.running) return;
    if (!navigator.mediaDevices) throw new Error("the camera needs an https address");
    const video = { ...WANTED, facingMode: { ideal: this.facing } };
    const stream = await navigator.mediaDevices.getUserMedia({ video }).catch((error: DOMException) => {
      throw new Error(ADVICE[error.name] ?? `the camera does not start (${error.message})`);
    });
    this.stream = stream;
    stream.getVideoTracks()[0]?.addEventListener("ended", () => this.stop());
    this.video.srcObject = stream;
    await this.video.play();
    this.wait(stream);
  }

  stop(): void {
    if (this.stream === null) return;
    for (const track of this.stream.getTracks()) track.stop();
    this.stream = this.video.srcObject = null;
    this.onEnd();
  }

  /** The camera on the other side. */
  async turn(): Promise<void> {
    this.facing = this.facing === "user" ? "environment" : "user";
    this.stop();
    await this.start();
  }

  /** Whether there is more than one; browsers tell once the camera is allowed. */
  async several(): Promise<boolean> {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter(({ kind }) => kind === "videoinput").length > 1;
  }

  private wait(stream: MediaStream): void {
    const next = async () => {
      if (this.stream !== stream) return;
      await this.onFrame(this.video);
      this.wait(stream);
    };
    if ("requestVideoFrameCallback" in this.video) this.video.requestVideoFrameCallback(() => void next());
    else requestAnimationFrame(() => void next());
  }
}
