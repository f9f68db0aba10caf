// Kernels count characters, editors count UTF-16 units.

/** The number of characters before a place that is counted in units. */
export function codePoints(text: string, units: number): number {
  let n = units;
  for (let i = 0; i < units - 1; i++) {
    const c = text.charCodeAt(i);
    if (c >= 0xd800 && c < 0xdc00) {
      const d = text.charCodeAt(i + 1);
      if (d >= 0xdc00 && d < 0xe000) {
        n--;
        i++;
      }
    }
  }
  return n;
}

/** The place in units after so many characters. */
export function unitsOf(text: string, points: number): number {
  let at = 0;
  for (let n = 0; n < points && at < text.length; n++) at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
  return at;
}
