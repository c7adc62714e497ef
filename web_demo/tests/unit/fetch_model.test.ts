/** What is said of addresses that give no model. */
import { expect, test, vi } from "vitest";
import { fetchModel } from "../../library/src/fetch_model.js";

vi.stubGlobal("location", new URL("https://here.example/demo/"));

test.each([
  ["models/a%20b.tflite", "a b.tflite: here.example answers 404; check the address"],
  ["models/50%.tflite", "50%.tflite: here.example answers 404; check the address"],
  ["https://there.example/%E0%A4%A", "%E0%A4%A: there.example answers 404; check the address"],
  ["https://there.example/", "there.example: there.example answers 404; check the address"],
])("%s", async (address, words) => {
  vi.stubGlobal("fetch", async () => new Response("none", { status: 404 }));
  await expect(fetchModel(address)).rejects.toThrow(words);
});
