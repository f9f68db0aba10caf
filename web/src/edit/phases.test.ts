import { expect, test } from "vitest";
import { phaseNow } from "./phases.ts";

const server = { running: false, state: "creating", contained: true };

test("the part that a start is in, in words, with the bytes of the image", () => {
  const start = [
    { name: "queued", state: "done" },
    { name: "pulling", state: "now", message: "pulling the image: 1 MiB of 4 MiB, 25 %", doneBytes: 1 << 20, totalBytes: 4 << 20 },
    { name: "creating", state: "ahead" },
  ];
  expect(phaseNow({ ...server, start })).toEqual({ words: "its image is brought", detail: "pulling the image: 1 MiB of 4 MiB, 25 %", percent: 25 });
  expect(phaseNow({ ...server, start: [{ name: "creating", state: "now" }] })).toEqual({ words: "its container is being made", detail: "", percent: null });
});

test("a server that is not being started is in none", () => {
  expect(phaseNow(null)).toBeNull();
  expect(phaseNow({ ...server, state: "stopped" })).toBeNull();
  expect(phaseNow({ ...server, state: "ready", start: [{ name: "ready", state: "done" }] })).toBeNull();
});
