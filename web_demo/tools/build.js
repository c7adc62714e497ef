/** Everything: the library, its package, and the page. */
import { buildLibrary, packLibrary } from "./library.js";
import { buildPage } from "./page.js";

await buildLibrary();
packLibrary();
await buildPage();
