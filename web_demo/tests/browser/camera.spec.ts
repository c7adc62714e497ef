/** The camera: a fake one that shows a photograph. */
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, LAUNCH, segmentLabels, test } from "./base.js";

const FILM = fileURLToPath(new URL("../../out/fixtures/camera.y4m", import.meta.url));
const [WIDTH, HEIGHT, FRAMES] = [640, 480, 3];

/** A short film in 4:2:0: a bright upper half over a dark lower one. */
function writeFilm(): void {
  const luma = Buffer.alloc(WIDTH * HEIGHT, 40).fill(200, 0, (WIDTH * HEIGHT) / 2);
  const frame = Buffer.concat([Buffer.from("FRAME\n"), luma, Buffer.alloc((WIDTH * HEIGHT) / 2, 128)]);
  const header = Buffer.from(`YUV4MPEG2 W${WIDTH} H${HEIGHT} F15:1 Ip A1:1 C420jpeg\n`);
  mkdirSync(new URL(".", `file://${FILM}`), { recursive: true });
  writeFileSync(FILM, Buffer.concat([header, ...Array.from({ length: FRAMES }, () => frame)]));
}

writeFilm();
test.use({
  launchOptions: {
    ...LAUNCH,
    args: [...LAUNCH.args, "--use-fake-device-for-media-stream", `--use-file-for-fake-video-capture=${FILM}`],
  },
});

test("the camera is segmented until it is stopped", async ({ page, demo, context }) => {
  await context.grantPermissions(["camera"]);
  await page.goto(demo);
  await segmentLabels(page);
  const button = page.getByRole("button", { name: "Camera", exact: true });
  await button.click();
  await expect(button).toHaveAttribute("aria-pressed", "true");
  await expect(page.getByRole("status")).toContainText(`at ${WIDTH}x${HEIGHT}`);
  const brightness = await page.locator("canvas").evaluate((canvas: HTMLCanvasElement) => {
    const at = (y: number) =>
      canvas
        .getContext("2d")
        ?.getImageData(320, y, 1, 1)
        .data.slice(0, 3)
        .reduce((sum, value) => sum + value, 0) ?? 0;
    return [at(20), at(460)];
  });
  expect(brightness[0]).toBeGreaterThan(brightness[1] as number);
  await button.click();
  await expect(button).toHaveAttribute("aria-pressed", "false");
  const tracks = await page.locator("video").evaluate((video: HTMLVideoElement) => video.srcObject);
  expect(tracks).toBeNull();
});

test("impatient taps leave no second camera on, and a change of settings is no error", async ({
  page,
  demo,
  context,
}) => {
  await context.grantPermissions(["camera"]);
  await page.goto(demo);
  await segmentLabels(page);
  const button = page.getByRole("button", { name: "Camera", exact: true });
  const states = await page.evaluateHandle(() => {
    const tracks: MediaStreamTrack[] = [];
    const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      const stream = await original(wanted);
      tracks.push(...stream.getTracks());
      return stream;
    };
    return () => tracks.map((track) => track.readyState);
  });
  await button.evaluate((element: HTMLElement) => [1, 2, 3].forEach(() => element.click()));
  await expect(page.getByRole("status")).toContainText(`at ${WIDTH}x${HEIGHT}`);
  await page.getByLabel("Threads").selectOption("1");
  await expect(page.getByRole("status")).toContainText("at 512x512");
  await expect(page.getByRole("alert")).toBeHidden();
  expect(await states.evaluate((of) => of())).toEqual(["ended"]);
});

test("a camera that is refused says what to do", async ({ page, demo, context }) => {
  await context.clearPermissions();
  await page.goto(demo);
  await segmentLabels(page);
  await page.evaluate(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
  });
  await page.getByRole("button", { name: "Camera", exact: true }).click();
  await expect(page.getByRole("alert")).toHaveText(
    "the camera was refused; allow it for this page in the browser's settings",
  );
});
