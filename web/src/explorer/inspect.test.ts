import { expect, test } from "vitest";
import type { Hidden } from "../kernel/port.ts";
import { resultOf } from "./inspect.ts";
import { answerOf, hiddenR, isListing } from "./inspectR.ts";

test("an answer is read, and what is none is said to be none", () => {
  const answer = (text: string) => ({ user_expressions: { quire: { status: "ok", data: { "text/plain": text } } } });
  expect(resultOf(answer(`'${btoa('{"a":1}')}'`))).toEqual({ a: 1 });
  expect(() => resultOf(answer("'<script>'"))).toThrow("none that can be read");
  expect(() => resultOf({})).toThrow("no answer");
  expect(() => resultOf({ user_expressions: { quire: { status: "error", evalue: "boom" } } })).toThrow("boom");
});

test("an answer of R is read, and its code is told from a cell's", () => {
  const said = (text: unknown, type = "display_data") => ({ messages: [{ header: { msg_type: type }, content: { data: { "application/vnd.quire.variables+json": text } } }], reply: {} }) as unknown as Hidden;
  expect(answerOf(said('{"a":1}'))).toEqual({ a: 1 });
  expect(() => answerOf(said('{"error":"boom"}'))).toThrow("boom");
  for (const none of [said('{"a":1}', "stream"), said(7)]) expect(() => answerOf(none)).toThrow("no answer");
  expect(hiddenR("out <- wanted\n", { wanted: 'a"; quit(); "' })).toContain('wanted <- "a\\"; quit(); \\""');
  expect(isListing(hiddenR("x"))).toBe(true);
  expect(isListing("ls()")).toBe(false);
});
