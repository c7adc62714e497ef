/** Where pictures and model files come from: a choice, a drop, a paste, the samples. */
import { element, make } from "./dom.js";

export const SAMPLES = [
  { file: "photos/astronaut.jpg", name: "Eileen Collins, astronaut" },
  { file: "photos/apollo11_crew.jpg", name: "Crew of Apollo 11" },
  { file: "photos/camera.jpg", name: "Man with a camera" },
  { file: "photos/chelsea.jpg", name: "Cat" },
  { file: "photos/china.jpg", name: "Summer Palace, Beijing" },
  { file: "photos/coffee.jpg", name: "Cup of coffee" },
  { file: "photos/flower.jpg", name: "Dahlia" },
  { file: "photos/grace_hopper.jpg", name: "Grace Hopper" },
  { file: "photos/rocket.jpg", name: "Rocket" },
] as const;

const MODEL = /\.(tflite|onnx|ort)$/i;

/** Tell of every picture and model file that the user gives, and of samples that cannot be had. */
export function watchSources(
  onPicture: (picture: Blob, name: string) => void,
  onModel: (model: File) => void,
  onFailure: (error: unknown) => void,
): void {
  const take = (files: FileList | null | undefined) => {
    for (const file of files ?? []) MODEL.test(file.name) ? onModel(file) : onPicture(file, file.name);
  };
  for (const id of ["file", "model-file"]) {
    const input = element(id, "input");
    input.addEventListener("change", () => {
      take(input.files);
      input.value = "";
    });
  }
  const stage = element("stage", "any");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && stage.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    stage.classList.remove("dropping");
    take(event.dataTransfer?.files);
  });
  document.addEventListener("paste", (event) => take(event.clipboardData?.files));
  element("samples", "any").append(
    ...SAMPLES.map(({ file, name }) => {
      const button = make(
        "button",
        { type: "button" },
        make("img", { src: file.replace("/", "/small/"), alt: name, width: 64, height: 64, loading: "lazy" }),
      );
      button.addEventListener(
        "click",
        () => void fetchSample(file).then((picture) => onPicture(picture, name), onFailure),
      );
      return button;
    }),
  );
}

/** Throws one line where there is neither a network nor a copy from an earlier visit. */
export async function fetchSample(file: string): Promise<Blob> {
  const response = await fetch(file).catch(() => null);
  if (!response?.ok) throw new Error(`${file}: cannot be fetched; go online, or choose a photo of your own`);
  return response.blob();
}
