/** A static host for the tests, with or without the headers of an isolated page; the page lies in a sub-folder. */
import { createReadStream, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const FOLDERS = {
  "/some/folder/": "dist",
  "/library/": "library/dist",
  "/models/": "out/fixtures/models",
  "/pictures/": "out/fixtures/pictures",
  "/blank/": "tests/browser/blank",
};
const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".jpg": "image/jpeg",
};
const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

export class Host {
  private server: Server | null = null;
  url = "";
  /** What was asked for, and how much of it there was. */
  readonly sent: { path: string; bytes: number }[] = [];

  constructor(private readonly isolated: boolean) {}

  async start(): Promise<this> {
    const server = createServer((request, response) => {
      const path = normalize(decodeURIComponent(new URL(request.url ?? "/", "http://host").pathname));
      const [prefix, folder] = Object.entries(FOLDERS).find(([start]) => path.startsWith(start)) ?? ["/", "none"];
      const file = join(ROOT, folder, path.slice(prefix.length) || "index.html");
      const size = statSync(file, { throwIfNoEntry: false })?.size;
      if (size === undefined) return response.writeHead(404).end();
      this.sent.push({ path, bytes: size });
      const headers = {
        "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
        "Content-Length": size,
        "Access-Control-Allow-Origin": "*",
      };
      response.writeHead(200, { ...headers, ...(this.isolated ? ISOLATED : {}) });
      return createReadStream(file).pipe(response);
    });
    await new Promise<void>((resolve) => server.listen(0, resolve));
    const address = server.address();
    this.server = server;
    this.url = `http://localhost:${typeof address === "object" ? address?.port : 0}`;
    return this;
  }

  async stop(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise((resolve) => this.server?.close(resolve));
  }
}
