import { buildLibrary } from "./library.js";

await buildLibrary();
