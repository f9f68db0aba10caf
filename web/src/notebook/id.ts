/** A random id of 32 hexadecimal digits. crypto.randomUUID is there only under https or on localhost. */
export function randomID(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
}
