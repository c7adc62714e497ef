/** The picture with its segments, and the table that says the same. */
import type { PanopticResult, Segment } from "@maskconver/web";
import { element, make } from "./dom.js";
import { percent } from "./report.js";

const NAMED = 5;

export class View {
  private readonly canvas = element("canvas", "canvas");
  private readonly table = element("segments", "any");
  private readonly opacity = element("opacity", "input");
  private result: PanopticResult | null = null;
  /** The segment that a tap or key chose, and the one under the pointer or focus. */
  private chosen: number | null = null;
  private pointed: number | null = null;

  constructor() {
    this.opacity.addEventListener("input", () => this.draw());
    this.canvas.addEventListener(
      "pointermove",
      (event) => event.pointerType === "mouse" && this.point(this.idAt(event)),
    );
    this.canvas.addEventListener("pointerleave", () => this.point(null));
    this.canvas.addEventListener("click", (event) => this.choose(this.idAt(event)));
  }

  get shown(): PanopticResult | null {
    return this.result;
  }

  /** Show a result; a choice made on the last one is forgotten. The table may stay for frames of a stream. */
  show(result: PanopticResult, withTable = true): void {
    this.result = result;
    this.chosen = this.pointed = null;
    this.draw();
    if (withTable) this.list();
  }

  private draw(): void {
    if (this.result === null) return;
    const [height, width] = this.result.size;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const overlay = this.result.overlay({
      opacity: Number(this.opacity.value) / 100,
      highlight: this.pointed ?? this.chosen,
    });
    this.canvas.getContext("2d")?.putImageData(overlay, 0, 0);
  }

  toBlob(): Promise<Blob | null> {
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/png"));
  }

  private list(): void {
    const { segments } = this.result as PanopticResult;
    const [height, width] = (this.result as PanopticResult).size;
    this.table.replaceChildren(...segments.map((segment) => this.row(segment, segment.area / (height * width))));
    const count = `${segments.length} segment${segments.length === 1 ? "" : "s"}`;
    const named = segments.slice(0, NAMED).map(({ label, area }) => `${label} ${percent(area / (height * width))}`);
    const more = segments.length > NAMED ? ", …" : "";
    element("summary", "any").textContent =
      segments.length === 0 ? "Nothing was found." : `${count}; what has no color is none of them.`;
    this.canvas.setAttribute(
      "aria-label",
      segments.length === 0 ? "Picture without segments" : `Picture with ${count}: ${named.join(", ")}${more}`,
    );
  }

  private row(segment: Segment, share: number): HTMLTableRowElement {
    const swatch = make("span", { className: "swatch" });
    swatch.style.backgroundColor = `rgb(${(this.result as PanopticResult).colors.get(segment.id)?.join(" ")})`;
    const button = make("button", { type: "button" }, swatch, segment.label);
    button.setAttribute("aria-pressed", "false");
    button.dataset.segment = String(segment.id);
    button.addEventListener("click", () => this.choose(segment.id));
    button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && this.point(segment.id));
    button.addEventListener("pointerleave", () => this.point(null));
    const name = make("th", { scope: "row" }, button);
    return make("tr", {}, name, make("td", {}, segment.score.toFixed(2)), make("td", {}, percent(share)));
  }

  private point(id: number | null): void {
    if (id === this.pointed) return;
    this.pointed = id;
    this.draw();
  }

  /** Highlight a segment; the second time, all of them again. */
  private choose(id: number | null): void {
    this.chosen = id === this.chosen ? null : id;
    this.pointed = null;
    for (const button of this.table.querySelectorAll<HTMLElement>("button")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.segment) === this.chosen));
    }
    this.draw();
  }

  private idAt(event: MouseEvent): number | null {
    const box = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.canvas.width;
    const y = ((event.clientY - box.top) / box.height) * this.canvas.height;
    return this.result?.segmentAt(x, y)?.id ?? null;
  }
}
