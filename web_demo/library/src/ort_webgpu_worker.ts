import * as ort from "onnxruntime-web/jspi";
import { ortOpener } from "./ort.js";
import { serve } from "./worker.js";

serve(ortOpener(ort, "webgpu"));
