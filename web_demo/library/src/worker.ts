/** The worker's side: one model, requests one after the other. */
import { decode } from "./decode.js";
import { reasonOf } from "./errors.js";
import { type ModelFile, readModel } from "./model_file.js";
import { finish, segmentPicture } from "./pipeline.js";
import { preprocess } from "./preprocess.js";
import type { Answers, Numbered, Reply, Request } from "./protocol.js";
import type { Open, Runtime } from "./runtime.js";

const scope = self as unknown as {
  onmessage: (event: MessageEvent<Numbered<Request>>) => void;
  postMessage(message: Reply, transfer: Transferable[]): void;
};

export function serve(open: Open): void {
  let loaded: { model: ModelFile; runtime: Runtime } | undefined;
  let queue = Promise.resolve();

  async function handle(request: Request): Promise<Answers[keyof Answers]> {
    if (request.kind === "load") {
      const model = readModel(request.bytes, request.name);
      const runtime = await open(model, request.wish);
      loaded = { model, runtime };
      // A GPU fails at the first run at the earliest.
      if (request.wish.backend === "webgpu") await runtime.run(preprocess(blank(), model.card).tensor);
      return runtime.got;
    }
    if (loaded === undefined) throw new Error("no model is loaded");
    const { model, runtime } = loaded;
    const start = performance.now();
    const picture = await decode(request.source, request.kind === "segment" ? request.maxSide : Infinity);
    if (request.kind === "run") return finish(model, await runtime.run(preprocess(picture.pixels, model.card).tensor));
    const answer = await segmentPicture(model, runtime, picture, performance.now() - start);
    return { ...answer, image: picture.shown };
  }

  scope.onmessage = ({ data }) => {
    queue = queue.then(async () => {
      try {
        const answer = await handle(data);
        scope.postMessage(
          { id: data.id, answer },
          "image" in answer ? [answer.image.data.buffer, answer.map.buffer] : [],
        );
      } catch (error) {
        scope.postMessage({ id: data.id, error: reasonOf(error) }, []);
      }
    });
  };
}

function blank() {
  return { data: new Uint8Array(3), width: 1, height: 1, channels: 3 } as const;
}
