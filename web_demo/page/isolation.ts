/** The service worker: it keeps the page for later, and isolates it where the host does not, so that it may have threads. */

const RELOADED = "maskconver-reloaded";
const PATIENCE_MS = 4000;

/** Wait until the worker is in charge; reload once where that gives isolation. Never resolves if the page reloads. */
export async function prepare(): Promise<void> {
  if (!("serviceWorker" in navigator) || !isSecureContext) return;
  try {
    await navigator.serviceWorker.register("./service_worker.js");
  } catch {
    return; // a browser that forbids it, or a certificate that it does not trust
  }
  await Promise.race([inCharge(), new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
  const controlled = navigator.serviceWorker.controller !== null;
  if (crossOriginIsolated || !controlled || sessionStorage.getItem(RELOADED) !== null) return;
  sessionStorage.setItem(RELOADED, "yes");
  location.reload();
  await new Promise(() => {});
}

function inCharge(): Promise<void> {
  if (navigator.serviceWorker.controller !== null) return Promise.resolve();
  return new Promise((resolve) => {
    navigator.serviceWorker.addEventListener("controllerchange", () => resolve(), { once: true });
  });
}
