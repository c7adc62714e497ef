/** Elements of the page by id, and how to make new ones. */

const KINDS = {
  canvas: HTMLCanvasElement,
  video: HTMLVideoElement,
  progress: HTMLProgressElement,
  button: HTMLButtonElement,
  input: HTMLInputElement,
  select: HTMLSelectElement,
  any: HTMLElement,
};
type Kinds = { [K in keyof typeof KINDS]: InstanceType<(typeof KINDS)[K]> };

export function element<K extends keyof Kinds>(id: string, kind: K): Kinds[K] {
  const found = document.getElementById(id);
  if (!(found instanceof KINDS[kind])) throw new Error(`the page has no ${kind} #${id}`);
  return found as Kinds[K];
}

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Offer a file to save. */
export function save(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
