// Asks a Python kernel what variables it has, out of sight: nothing of it is in the
// history or among the person's names.
import type { KernelPort } from "../kernel/port.ts";
import type { DataOutput, Json, JsonObject } from "../notebook/types.ts";
import { tableOutput } from "./table.ts";

export interface Variable {
  readonly name: string;
  readonly type: string;
  /** "1,000 × 3", or how many things are in it; "" where that is no question. */
  readonly shape: string;
  readonly bytes: number;
  readonly preview: string;
  /** Whether it can be explored as a table. */
  readonly table: boolean;
}

export const timeoutMs = 10_000;
export const tableRows = 5000;
export const tableBytes = 6_000_000;

// user is the person's names; what the code finds it leaves in out. It looks at no
// attribute of types that it does not know, which might do anything.
const listing = `
import json, sys, types, reprlib
short = reprlib.Repr(); short.maxstring = 80; short.maxother = 80; short.maxlevel = 2
hidden = {'In', 'Out', 'exit', 'quit', 'get_ipython', 'open', 'quire'}
known = {'numpy', 'pandas', 'polars', 'pyarrow', 'torch', 'scipy', 'xarray'}
rows = []
for name, v in sorted(list(user.items())):
    if not isinstance(name, str) or name.startswith('_') or name in hidden or isinstance(v, (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, type)):
        continue
    if len(rows) >= 500:
        break
    t = type(v); root = (t.__module__ or '').split('.')[0]
    row = {'name': name[:200], 'type': t.__name__[:100], 'shape': '', 'bytes': 0, 'preview': '', 'table': False}
    try:
        row['bytes'] = int(sys.getsizeof(v)) if root == 'builtins' else 0
        if root in known:
            shape = getattr(v, 'shape', None)
            if isinstance(shape, tuple) or type(shape).__name__ == 'Size':
                row['shape'] = ' × '.join(format(int(n), ',') for n in shape)
            if root == 'pandas' and t.__name__ in ('DataFrame', 'Series'):
                used = v.memory_usage(index=True)
                row['bytes'] = int(used.sum() if t.__name__ == 'DataFrame' else used)
            elif hasattr(v, 'estimated_size'):
                row['bytes'] = int(v.estimated_size())
            elif hasattr(v, 'nbytes'):
                row['bytes'] = int(v.nbytes)
            columns = getattr(v, 'columns', None) if t.__name__ in ('DataFrame', 'LazyFrame') else getattr(v, 'column_names', None)
            if t.__name__ == 'LazyFrame':
                columns = None
            if columns is not None:
                row['preview'] = ', '.join(str(c)[:40] for c in list(columns[:20]))
                row['table'] = t.__name__ in ('DataFrame', 'Table')
            elif getattr(v, 'size', 1000) == 1 or t.__name__ in ('ndarray', 'Series', 'Index') and getattr(v, 'size', 0) <= 1000:
                row['preview'] = short.repr(v.tolist() if hasattr(v, 'tolist') else v)
            row['table'] = row['table'] or root == 'pandas' and t.__name__ == 'Series'
        elif root == 'builtins' or t.__module__ in ('datetime', 'decimal', 'fractions', 'uuid', 'collections', 'pathlib'):
            if isinstance(v, (str, bytes, list, tuple, dict, set, frozenset, bytearray)):
                row['shape'] = format(len(v), ',')
            row['preview'] = short.repr(v)
    except Exception:
        pass
    row['preview'] = row['preview'][:200]
    rows.append(row)
out = {'variables': rows}
`;

const reading = `
import json
v = user[wanted]
root = (type(v).__module__ or '').split('.')[0]
whole = len(v)
n = limit
while True:
    if root == 'pandas':
        part = v.head(n)
        if type(v).__name__ == 'Series':
            part = part.to_frame()
        if not (type(part.index).__name__ == 'RangeIndex' and part.index.name is None):
            part = part.reset_index()
        names = [str(c) if not isinstance(c, tuple) else ' / '.join(str(p) for p in c) for c in part.columns]
        rows = json.loads(part.to_json(orient='values', date_format='iso', default_handler=str))
    elif root == 'polars':
        part = v.head(n); names = [str(c) for c in part.columns]; rows = [list(r) for r in part.rows()]
    else:
        part = v.slice(0, n); names = list(part.column_names); rows = [list(r) for r in zip(*part.to_pydict().values())]
    text = json.dumps(rows, default=str)
    if len(text) <= most or n <= 10:
        break
    n //= 2
seen = {}
for i, name in enumerate(names):
    seen[name] = seen.get(name, 0) + 1
    if seen[name] > 1:
        names[i] = name + ' ' + str(seen[name])
out = {'names': names, 'rows': json.loads(text), 'whole': whole}
`;

/** An expression that runs code apart from the person's names and gives its result as text without quotes. */
export function expression(code: string, given: Readonly<Record<string, string | number>> = {}): string {
  const more = Object.entries(given).map(([name, v]) => `, ${JSON.stringify(name)}: ${JSON.stringify(v)}`).join("");
  return `(lambda ns: (exec(${JSON.stringify(code)}, ns), __import__("base64").b64encode(__import__("json").dumps(ns["out"]).encode()).decode())[1])({"user": globals()${more}})`;
}

/** Reads the reply to an expression. */
export function resultOf(reply: Readonly<Record<string, Json>>): JsonObject {
  const all = reply["user_expressions"] as JsonObject | undefined;
  const one = all?.["quire"] as JsonObject | undefined;
  if (one?.["status"] !== "ok") throw new Error(typeof one?.["evalue"] === "string" ? one["evalue"].slice(0, 300) : "the kernel gave no answer");
  const text = (one["data"] as JsonObject | undefined)?.["text/plain"];
  const m = typeof text === "string" ? /^'([A-Za-z0-9+/=]*)'$/.exec(text) : null;
  if (!m) throw new Error("the kernel's answer is none that can be read");
  const bytes = Uint8Array.from(atob(m[1] ?? ""), (c) => c.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes)) as JsonObject;
}

export async function listVariables(kernel: KernelPort): Promise<readonly Variable[]> {
  const { reply } = await kernel.run("", timeoutMs, { quire: expression(listing) });
  const list = resultOf(reply)["variables"];
  return Array.isArray(list) ? list as unknown as Variable[] : [];
}

/** The first rows of a table that a variable holds, as an output. */
export async function readTable(kernel: KernelPort, name: string): Promise<DataOutput> {
  const { reply } = await kernel.run("", 3 * timeoutMs, { quire: expression(reading, { wanted: name, limit: tableRows, most: tableBytes }) });
  const t = resultOf(reply) as unknown as { names: string[]; rows: Json[][]; whole: number };
  return tableOutput(t.names, t.rows, t.whole);
}
