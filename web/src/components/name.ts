import { useState } from "preact/hooks";

let made = 0;

/** An id that no other part of the page has. Those of useId are unique among what is rendered together only. */
export function useName(): string {
  return useState(() => `x${String(++made)}`)[0];
}
