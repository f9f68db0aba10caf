import { expect, test } from "vitest";
import { escapePath, readConfig } from "./config.ts";

test("a path is escaped name by name", () => {
  expect(escapePath("a b/100%#1/ü.ipynb")).toBe("a%20b/100%25%231/%C3%BC.ipynb");
});

test("a page without configuration is refused", () => {
  expect(() => readConfig(document)).toThrow("does not say");
});
