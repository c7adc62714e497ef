/** The section that measures, and what becomes of its report. */
import { element, make, save } from "./dom.js";
import type { PanopticResult } from "@maskconver/web";
import { describeDevice } from "./device.js";
import { type Loaded, reload } from "./engine.js";
import { measure, type MeasureOptions } from "./measure.js";
import type { ExpectedMap } from "./models.js";
import { type Report, reportOf } from "./report.js";
import type { Settings } from "./settings.js";
import { describeAgreement, describeTimes } from "./words.js";

const NAME = "benchmark.json";
/** Browsers share files of a few kinds only; JSON is not among Chrome's. */
const SHARED = { name: "benchmark.txt", type: "text/plain" } as const;

export class Measuring {
  private readonly start = element("measure", "button");
  private readonly end = element("stop", "button");
  private report: Report | null = null;
  private stop = new AbortController();

  constructor(
    private readonly draw: (result: PanopticResult, name: string) => void,
    private readonly say: (words: string) => void,
    onStart: () => void,
  ) {
    this.start.addEventListener("click", onStart);
    this.end.addEventListener("click", () => this.stop.abort(new Error("stopped")));
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.stop.abort(new Error("the page was hidden, which spoils the times; measure again"));
    });
    element("copy", "button").addEventListener("click", () => void this.copy());
    element("save-report", "button").addEventListener("click", () => save(new Blob([this.text()]), NAME));
    element("share", "button").hidden = !navigator.canShare?.({ files: [this.file()] });
    element("share", "button").addEventListener(
      "click",
      () => void navigator.share({ files: [this.file()] }).catch(() => {}),
    );
  }

  enable(possible: boolean): void {
    this.start.disabled = !possible;
  }

  focus(): void {
    this.start.scrollIntoView();
    this.start.focus();
  }

  /** Measure the loaded model in a fresh worker, which is the page's from then on. `remarks` stand in the report. */
  async run(
    loaded: Loaded,
    settings: Settings,
    photos: MeasureOptions["photos"],
    remarks: readonly string[],
    onLoaded: (fresh: Loaded) => void,
  ): Promise<void> {
    this.stop = new AbortController();
    this.end.hidden = false;
    element("measured", "any").hidden = true;
    try {
      this.say("Measuring: loading");
      const device = await describeDevice(loaded.segmenter.model.bytes);
      const fresh = await reload(loaded, settings);
      onLoaded(fresh);
      const { segmenter, loadMs, answer } = fresh;
      const expected = answer === null ? null : await expectedMap(answer);
      let agreed = "";
      const found = await measure(segmenter, loadMs, {
        photos,
        expected,
        draw: this.draw,
        onAgreement: (agreement) => this.say((agreed = describeAgreement(agreement))),
        onRun: (done, of) => done % 10 === 0 && this.say(`${agreed} Measuring: ${done} of about ${of} runs`),
        signal: this.stop.signal,
      });
      this.report = reportOf({ segmenter, notes: [...fresh.notes, ...remarks] }, settings, device, found);
      this.show(describeAgreement(found.agreement), describeTimes(found));
    } finally {
      this.end.hidden = true;
    }
  }

  private show(agreement: string, times: [string, string][]): void {
    const { machines, results } = this.report as Report;
    const software = machines[0]?.emulated === true;
    element("agreement", "any").textContent = agreement;
    const rows = software
      ? []
      : times.map(([what, time]) => make("tr", {}, make("th", { scope: "row" }, what), make("td", {}, time)));
    element("times", "any").replaceChildren(make("tbody", {}, ...rows));
    const remarks = [...(results[0]?.warnings ?? [])];
    if (software)
      remarks.push("The GPU is a program on the CPU here: its times say nothing about a GPU and are not shown");
    element("remarks", "any").replaceChildren(...remarks.map((remark) => make("li", {}, remark)));
    element("measured", "any").hidden = false;
    this.say("Measured");
  }

  private text(): string {
    return `${JSON.stringify(this.report, null, 1)}\n`;
  }

  private file(): File {
    return new File([this.text()], SHARED.name, { type: SHARED.type });
  }

  private async copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.text());
      this.say("The report was copied");
    } catch {
      this.say("This browser does not let the page copy; save the report instead");
    }
  }
}

/** Null where it cannot be had, such as without a network. */
async function expectedMap(address: string): Promise<ExpectedMap | null> {
  try {
    return (await (await fetch(address)).json()) as ExpectedMap;
  } catch {
    return null;
  }
}
