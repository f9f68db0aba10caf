// SQL cells are code cells that begin with %%sql, so that the file stays a plain
// notebook.

const magic = /^%%sql\b[^\n]*(\n|$)/;

export function isSQL(source: string): boolean {
  return magic.test(source);
}

/** The line that makes it an SQL cell, and the statement. */
export function splitSQL(source: string): { readonly head: string; readonly body: string } {
  const found = magic.exec(source);
  if (!found) return { head: "", body: source };
  return { head: found[0].replace(/\n$/, ""), body: source.slice(found[0].length) };
}

export function toSQL(source: string): string {
  return isSQL(source) ? source : "%%sql\n" + source;
}

export function fromSQL(source: string): string {
  return splitSQL(source).body;
}

/** The connection that an SQL cell names, "" when it is left to the server. */
export function connectionOf(source: string): string {
  return /^%%sql[ \t]+(?!-)(\S+)/.exec(source)?.[1] ?? "";
}

/** The cell with another connection; "" leaves it to the server. */
export function withConnection(source: string, name: string): string {
  return source.replace(/^%%sql(?:[ \t]+(?!-)\S+)?/, name ? "%%sql " + name : "%%sql");
}
