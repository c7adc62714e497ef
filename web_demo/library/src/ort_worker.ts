import { openOrt } from "./ort.js";
import { serve } from "./worker.js";

serve(openOrt);
