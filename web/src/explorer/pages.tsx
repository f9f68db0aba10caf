// The explorer on pages that are read: what the server wrote stands as it is, below
// tabs; the table itself is asked for when somebody wants to see it another way.
import { render } from "preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { getTable } from "../api/render.ts";
import type { DataOutput, Json, JsonObject } from "../notebook/types.ts";
import type { Place } from "../outputs/rendered.tsx";
import { fromDX } from "./choice.ts";
import { Explorer, type Found } from "./Explorer.tsx";
import { makeTable, tableOutput } from "./table.ts";

interface PageTableProps {
  readonly base: string;
  /** Where its values are. */
  readonly from: string;
  readonly label: string;
  /** What the server wrote. */
  readonly nodes: readonly Node[];
}

const none: DataOutput = { output_type: "display_data", metadata: {}, data: {} };

async function read(from: string): Promise<Found> {
  const t = await getTable(from);
  const output = tableOutput(t.names, t.rows, t.whole ?? 0);
  return { output, table: makeTable(t.names, t.rows, t.whole), choice: fromDX(t.dx) };
}

/** What the server wrote, each time in its place again. */
function Shown({ nodes }: { nodes: readonly Node[] }) {
  const at = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => { at.current?.append(...nodes); }, [nodes]);
  return <div ref={at} />;
}

function PageTable({ base, from, label, nodes }: PageTableProps) {
  const [metadata, setMetadata] = useState<JsonObject>({});
  const once = useMemo(() => {
    let found: Promise<Found> | null = null;
    return () => {
      found ??= read(from).catch((err: unknown) => { found = null; throw err; });
      return found;
    };
  }, [from]);
  const cell: Place = {
    config: { base, path: "" }, number: 1, metadata,
    setMetadata: (key: string, value: Json | undefined) => { setMetadata((m) => ({ ...m, [key]: value ?? null })); },
  };
  return <Explorer output={none} index={0} cell={cell} label={label} read={once} shown={<Shown nodes={nodes} />} />;
}

/** Turns every table of the page that is not one yet into the explorer. */
export function explore(base: string): void {
  for (const el of document.querySelectorAll<HTMLElement>("[data-table]")) {
    const from = el.dataset["table"] ?? "";
    delete el.dataset["table"];
    // Only what this server has: the address is in a page that it wrote, but held to it.
    if (!from.startsWith(base + "/") || from.startsWith("//")) continue;
    const nodes = [...el.childNodes];
    el.replaceChildren();
    render(<PageTable base={base} from={from} label={el.dataset["label"] ?? "Table"} nodes={nodes} />, el);
  }
}
