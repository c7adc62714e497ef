/** What this device says of itself, as far as it does. */
import { make } from "./dom.js";

export interface Device {
  /** Device and browser in a few words. */
  readonly id: string;
  /** Of the model file, empty where the page is not in a secure context. */
  readonly sha256: string;
  readonly environment: Readonly<Record<string, unknown>>;
}

interface UserAgentData {
  readonly brands: readonly { readonly brand: string; readonly version: string }[];
  readonly platform: string;
  getHighEntropyValues(hints: string[]): Promise<Record<string, unknown>>;
}

interface Battery {
  readonly level: number;
  readonly charging: boolean;
}

type Extended = Navigator & {
  readonly userAgentData?: UserAgentData;
  readonly deviceMemory?: number;
  getBattery?(): Promise<Battery>;
};

const BROWSERS: readonly (readonly [RegExp, string])[] = [
  [/Edg\/(\d+)/, "Edge"],
  [/SamsungBrowser\/(\d+)/, "Samsung Internet"],
  [/(?:Firefox|FxiOS)\/(\d+)/, "Firefox"],
  [/(?:Chrome|CriOS)\/(\d+)/, "Chrome"],
  [/Version\/(\d+)[\d.]* .*Safari/, "Safari"],
];

export async function describeDevice(modelBytes: Uint8Array<ArrayBuffer>): Promise<Device> {
  const self: Extended = navigator;
  const hints = await self.userAgentData
    ?.getHighEntropyValues(["model", "platformVersion", "architecture"])
    .catch(() => null);
  const battery = await self.getBattery?.().catch(() => null);
  const name = String(hints?.model || "") || nameOf(self.userAgent);
  const environment = {
    user_agent: self.userAgent,
    model: hints?.model,
    platform: hints === null || hints === undefined ? undefined : `${hints.platform} ${hints.platformVersion}`,
    architecture: hints?.architecture,
    cores: self.hardwareConcurrency,
    memory_gib: self.deviceMemory,
    battery: battery ? { level: battery.level, charging: battery.charging } : undefined,
    screen: `${screen.width}x${screen.height}`,
    timer_step_ms: timerStep(),
  };
  const known = Object.entries(environment).filter(([, value]) => value !== undefined && value !== "");
  return {
    id: `${name}, ${browserOf(self.userAgent)}`,
    sha256: await digest(modelBytes),
    environment: Object.fromEntries(known),
  };
}

/** Whether known pixels come back changed from a canvas, as in browsers that resist fingerprinting. */
export function altersPixels(): boolean {
  const [width, height] = [32, 32];
  const canvas = make("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  const known = new ImageData(width, height);
  for (let i = 0; i < known.data.length; i++) known.data[i] = i % 4 === 3 ? 255 : (i * 73) & 255;
  canvas?.putImageData(known, 0, 0);
  return canvas?.getImageData(0, 0, width, height).data.some((value, i) => value !== known.data[i]) ?? false;
}

function nameOf(userAgent: string): string {
  return /iPhone|iPad|Android|Macintosh|Windows|CrOS|Linux/.exec(userAgent)?.[0] ?? "unknown device";
}

function browserOf(userAgent: string): string {
  for (const [pattern, name] of BROWSERS) {
    const version = pattern.exec(userAgent)?.[1];
    if (version !== undefined) return `${name} ${version}`;
  }
  return "unknown browser";
}

/** The smallest difference that the clock shows. */
function timerStep(): number {
  let least = Infinity;
  for (let i = 0; i < 20; i++) {
    const start = performance.now();
    let now = start;
    while (now === start) now = performance.now();
    least = Math.min(least, now - start);
  }
  return Number(least.toFixed(4));
}

async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  if (!isSecureContext) return "";
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
