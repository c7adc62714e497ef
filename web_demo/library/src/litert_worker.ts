import { openLiteRt } from "./litert.js";
import { serve } from "./worker.js";

serve(openLiteRt);
