import { render } from "preact";
import { expect, test, vi } from "vitest";
import { later } from "./later.tsx";

const patience = { timeout: 30_000 };

test("a part that cannot be loaded leaves what stands, and comes when the network is back", async () => {
  let broken = true;
  const load = vi.fn(() => broken ? Promise.reject(new Error("offline")) : Promise.resolve(({ name }: { name: string }) => <b>{name}</b>));
  const Part = later(load);
  const place = document.createElement("div");
  render(<Part name="here" fallback={<i>text</i>} />, place);
  await vi.waitFor(() => expect(load).toHaveBeenCalledTimes(1), patience);
  await expect(load.mock.results[0]?.value).rejects.toThrow("offline");
  for (let n = 0; n < 20; n++) await Promise.resolve();
  expect(place.innerHTML).toBe("<i>text</i>");
  broken = false;
  dispatchEvent(new Event("online"));
  await vi.waitFor(() => expect(place.innerHTML).toBe("<b>here</b>"), patience);
  expect(load).toHaveBeenCalledTimes(2);
  render(<Part name="again" fallback={<i>text</i>} />, document.createElement("div"));
  expect(load).toHaveBeenCalledTimes(2);
});
