/** What is asked for, as it stands in the address: `#model=int8&backend=wasm&threads=4&run=1`. */
import type { Backend, RuntimeName } from "@maskconver/web";

export interface Settings {
  /** A name on this page's list, the address of a model file, or `auto`. */
  readonly model: string;
  readonly runtime: RuntimeName | "auto";
  readonly backend: Backend | "auto";
  readonly threads: number | "auto";
  /** Offer to measure at once. */
  readonly run: boolean;
}

const RUNTIMES = ["auto", "litert", "onnx"] as const;
const BACKENDS = ["auto", "wasm", "webgpu"] as const;
const MAX_THREADS = 16;

/** Read the address; what it does not say, or says wrongly, is left to the page. */
export function readSettings(hash: string): Settings {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  const threads = Number(values.get("threads"));
  return {
    model: values.get("model") || "auto",
    runtime: RUNTIMES.find((name) => name === values.get("runtime")) ?? "auto",
    backend: BACKENDS.find((name) => name === values.get("backend")) ?? "auto",
    threads: Number.isInteger(threads) && threads >= 1 && threads <= MAX_THREADS ? threads : "auto",
    run: values.get("run") === "1",
  };
}

/** The address of settings; what is automatic is left out. */
export function writeSettings(settings: Settings): string {
  const { run, ...rest } = settings;
  const values = Object.entries(rest).filter(([, value]) => value !== "auto");
  const entries = values.map(([key, value]): [string, string] => [key, String(value)]);
  return `#${new URLSearchParams([...entries, ...(run ? [["run", "1"]] : [])])}`;
}

/** The address of a model file outside the page's list, null for a name and for what no host can be asked for. */
export function addressOf(model: string, base: string): URL | null {
  if (!/[/.]/.test(model)) return null;
  try {
    const url = new URL(model, base);
    return /^https?:$/.test(url.protocol) ? url : null;
  } catch {
    return null;
  }
}
