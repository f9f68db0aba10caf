// MurmurHash2 with seed 0 over the UTF-8 of a cell's text: what a request to run
// says was seen. The server has the same in internal/session/execute.go.

const m = 0x5bd1e995;

export function sourceHash(source: string): number {
  const data = new TextEncoder().encode(source);
  let h = data.length >>> 0;
  let i = 0;
  for (; i + 4 <= data.length; i += 4) {
    let k = byte(data, i) | (byte(data, i + 1) << 8) | (byte(data, i + 2) << 16) | (byte(data, i + 3) << 24);
    k = Math.imul(k, m);
    k ^= k >>> 24;
    k = Math.imul(k, m);
    h = Math.imul(h, m) ^ k;
  }
  const left = data.length - i;
  if (left >= 3) h ^= byte(data, i + 2) << 16;
  if (left >= 2) h ^= byte(data, i + 1) << 8;
  if (left >= 1) {
    h ^= byte(data, i);
    h = Math.imul(h, m);
  }
  h ^= h >>> 13;
  h = Math.imul(h, m);
  h ^= h >>> 15;
  return h >>> 0;
}

function byte(data: Uint8Array, i: number): number {
  return data[i] ?? 0;
}
