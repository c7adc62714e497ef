/** Keeps the page's own files for later, and adds the headers of an isolated page. */

/** Every file of the page, relative to it; written by the build. */
declare const FILES: readonly string[];
/** Those that a first visit needs besides a runtime and a model. */
declare const SHELL: readonly string[];

interface Fetching extends Event {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}
interface Waiting extends Event {
  waitUntil(work: Promise<unknown>): void;
}

const scope = self as unknown as {
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(kind: "install" | "activate", listener: (event: Waiting) => void): void;
  addEventListener(kind: "fetch", listener: (event: Fetching) => void): void;
};

const CACHE = "maskconver-web";
const BASE = new URL("./", location.href).href;
const WITHOUT_BODY = [101, 204, 205, 304];
const known = new Set(FILES.map((file) => BASE + file));

scope.addEventListener("install", (event) => {
  event.waitUntil(keepShell().then(() => scope.skipWaiting()));
});

scope.addEventListener("activate", (event) => {
  event.waitUntil(forgetOthers().then(() => scope.clients.claim()));
});

scope.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(BASE)) return;
  const key = keyOf(request.url);
  const answer = key === null ? fetch(request) : isFresh(key) ? newest(request, key) : kept(request, key);
  event.respondWith(answer.then(isolated));
});

/** The address under which a file is kept; null for what is not the page's own. */
function keyOf(address: string): string | null {
  const url = new URL(address);
  const plain = url.origin + url.pathname;
  const key = plain.endsWith("/") ? `${plain}index.html` : plain;
  return known.has(key) ? key : null;
}

/** Pages and the list of models keep their addresses when they change; everything else does not. */
function isFresh(key: string): boolean {
  return key.endsWith(".html") || key.endsWith("models.json");
}

async function kept(request: Request, key: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  const found = await cache.match(key);
  if (found !== undefined) return found;
  const response = await fetch(request);
  if (response.status === 200) await cache.put(key, response.clone()).catch(() => {}); // a full disk is no reason to fail
  return response;
}

async function newest(request: Request, key: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.status === 200) await cache.put(key, response.clone()).catch(() => {});
    return response;
  } catch (error) {
    const found = await cache.match(key);
    if (found === undefined) throw error;
    return found;
  }
}

async function keepShell(): Promise<void> {
  const cache = await caches.open(CACHE);
  await cache.addAll(SHELL.map((file) => BASE + file));
}

async function forgetOthers(): Promise<void> {
  const cache = await caches.open(CACHE);
  for (const { url } of await cache.keys()) if (!known.has(url)) await cache.delete(url);
}

/** The same response with the headers that allow threads. */
function isolated(response: Response): Response {
  if (response.type === "opaque" || response.status === 0) return response;
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  const { status, statusText } = response;
  return new Response(WITHOUT_BODY.includes(status) ? null : response.body, { status, statusText, headers });
}
