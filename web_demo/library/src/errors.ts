/** The one error a user of this library needs to catch: one line that names the file or value, and the way out. */
export class MaskConverError extends Error {
  override name = "MaskConverError";
}

/** What any thrown value says, on one line. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s+/g, " ").trim().slice(0, 300);
}
