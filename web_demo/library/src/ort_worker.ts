import * as ort from "onnxruntime-web/wasm";
import { ortOpener } from "./ort.js";
import { serve } from "./worker.js";

serve(ortOpener(ort, "wasm"));
