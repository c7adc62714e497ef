/** The list of licenses on the about page: of everything that is part of the built page. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { DEMO, packageFolder, REPOSITORY } from "./paths.js";

const APACHE = "Apache-2.0";
const CC_BY = "https://creativecommons.org/licenses/by/2.0/";
/** ONNX Runtime's package states MIT and holds no text of it. */
const MIT_TEXT = (owner) => `MIT License

Copyright (c) ${owner}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;

/** Packages whose code is in the page's files, and whom those without a license file belong to. */
const BUNDLED = {
  "@litertjs/core": "Google LLC",
  "@litertjs/wasm-utils": "Google LLC",
  "onnxruntime-web": "Microsoft Corporation",
  "onnxruntime-common": "Microsoft Corporation",
};
/** Compiled into the runtimes' WebAssembly files, as far as their sources say. */
const INSIDE = {
  LiteRT:
    "TensorFlow Lite, XNNPACK (BSD-3-Clause), FlatBuffers, Abseil, ruy, farmhash (MIT), Eigen (MPL-2.0), pthreadpool and cpuinfo (BSD-2-Clause), Emscripten's libraries (MIT)",
  "ONNX Runtime":
    "Protocol Buffers (BSD-3-Clause), ONNX, FlatBuffers, Abseil, Eigen (MPL-2.0), GSL and SafeInt (MIT), nlohmann/json (MIT), Emscripten's libraries (MIT)",
};

/** What is bundled: a title, the license in a few words, and its text where that is not Apache-2.0. */
function notices() {
  const packages = Object.entries(BUNDLED).map(([name, owner]) => {
    const folder = packageFolder(name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const text = license === APACHE ? "" : (textIn(folder) ?? MIT_TEXT(owner));
    return { title: `${name} ${version}`, words: `${license}, © ${owner}`, text };
  });
  const inside = Object.entries(INSIDE).map(([name, parts]) => {
    return {
      title: `Inside the WebAssembly files of ${name}`,
      words: `${parts}; Apache-2.0 where nothing else is said`,
      text: "",
    };
  });
  const apache = readFileSync(join(REPOSITORY, "LICENSE"), "utf8");
  return [...packages, ...inside, { title: APACHE, words: "", text: apache }];
}

/** The HTML that the about page is filled with. */
export function licensesHtml() {
  const parts = notices().map(
    ({ title, words, text }) =>
      `<h3>${escape(title)}</h3><p>${escape(words)}</p>${text && `<pre>${escape(text)}</pre>`}`,
  );
  return parts.join("\n");
}

/** The same as text, for the library's package. */
export function licensesText() {
  const parts = notices().map(({ title, words, text }) => [title, words, text].filter(Boolean).join("\n\n"));
  return `${parts.join("\n\n----\n\n")}\n`;
}

/** The credits of the sample photographs, from the table beside them. */
export function creditsHtml() {
  const lines = readFileSync(join(DEMO, "photos/CREDITS.txt"), "utf8").split("\n");
  const rows = lines.filter((line) => /^\S+\.jpg /.test(line)).map((line) => line.split(/ {2,}/));
  const items = rows.map(([file, what, author, license, origin]) => {
    const words = (...cells) => cells.map(escape).join(", ");
    const linked = license === "CC BY 2.0" ? `<a href="${CC_BY}">${license}</a>` : escape(license);
    return `<li>${words(what, author)}, ${linked}, ${words(`from ${origin}`, basename(file))}</li>`;
  });
  return `<ul>${items.join("\n")}</ul>`;
}

function textIn(folder) {
  const name = readdirSync(folder).find((file) => /^(license|licence)(\.\w+)?$/i.test(file));
  return name !== undefined && existsSync(join(folder, name)) ? readFileSync(join(folder, name), "utf8") : null;
}

function escape(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
