import { expect, test, vi } from "vitest";
import type { RenderRequest, Rendered } from "../api/render.ts";
import { Renderer } from "./remote.ts";

const ask = (text: string): RenderRequest => ({ output: { output_type: "display_data", data: { "text/html": text }, metadata: {} } });

test("what is asked for at one moment goes together, and is asked for once", async () => {
  const post = vi.fn((outputs: readonly RenderRequest[]) => Promise.resolve(outputs.map((_, n): Rendered => ({ html: String(n) }))));
  const r = new Renderer(post);
  expect(await Promise.all([r.render(ask("a")), r.render(ask("b"))])).toEqual([{ html: "0" }, { html: "1" }]);
  expect(await r.render(ask("b"))).toEqual({ html: "1" });
  expect(r.known(ask("a"))).toEqual({ html: "0" });
  expect(post).toHaveBeenCalledTimes(1);
});

test("what fails is asked for again", async () => {
  let broken = true;
  const r = new Renderer((outputs) => broken ? Promise.reject(new Error("offline")) : Promise.resolve(outputs.map(() => ({ html: "x" }))));
  await expect(r.render(ask("a"))).rejects.toThrow("offline");
  broken = false;
  expect(await r.render(ask("a"))).toEqual({ html: "x" });
});

test("large requests are sent apart, and memory is bounded", async () => {
  const sizes: number[] = [];
  const r = new Renderer((outputs) => { sizes.push(outputs.length); return Promise.resolve(outputs.map(() => ({ html: "x" }))); });
  const big = "x".repeat(3 << 20);
  await Promise.all([0, 1, 2, 3].map((n) => r.render(ask(big + String(n)))));
  expect(sizes).toEqual([2, 2]);
  for (let n = 0; n < 12; n++) await r.render(ask(big + "more" + String(n)));
  expect(r.known(ask(big + "0"))).toBeUndefined();
  expect(r.known(ask(big + "more11"))).toBeDefined();
});
