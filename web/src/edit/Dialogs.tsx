// Dialogs: all commands, keys, kernels, more memory, edits to decide on.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Dialog } from "../components/Dialog.tsx";
import { insertCells, replaceText, structure } from "../notebook/edits.ts";
import { words } from "../api/http.ts";
import type { ServerStatus } from "../api/platform.ts";
import { commands, type Command } from "./commands.ts";
import { Diff } from "./Diff.tsx";
import { useEditor, useValue } from "./hooks.ts";
import { shown } from "./keys.ts";

export function Dialogs() {
  const ed = useEditor();
  const dialog = useValue(ed.dialog);
  const close = () => ed.dialog.set(null);
  switch (dialog) {
    case "palette": return <Palette close={close} />;
    case "help": return <Help close={close} />;
    case "kernel": return <KernelPicker close={close} />;
    case "memory": return <Memory close={close} />;
    case "conflict": return <Conflict close={close} />;
    default: return null;
  }
}

/** What comes first while nothing is asked for. */
const groups: readonly Command["group"][] = ["Run", "Notebook", "Kernel", "View", "Cells"];

function score(label: string, wanted: string): number {
  const l = label.toLowerCase();
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.every((w) => l.includes(w))) return -1;
  return words.reduce((n, w) => n + (l.startsWith(w) ? 0 : 1) + l.indexOf(w) / 100, 0);
}

function Palette({ close }: { close: () => void }) {
  const ed = useEditor();
  const [wanted, setWanted] = useState("");
  const [at, setAt] = useState(0);
  const list = useRef<HTMLUListElement>(null);
  const found = useMemo(() => commands.map((c) => ({ c, s: score(`${c.label} ${c.group}`, wanted) })).filter((f) => f.s >= 0).sort((a, b) => a.s - b.s || groups.indexOf(a.c.group) - groups.indexOf(b.c.group)).map((f) => f.c), [wanted]);
  const call = (c: Command | undefined) => {
    if (!c) return;
    close();
    setTimeout(() => c.run(ed), 0);
  };
  useEffect(() => list.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" }), [at]);
  const keys = (e: KeyboardEvent) => {
    if (e.key === "ArrowDown") setAt((n) => Math.min(n + 1, found.length - 1));
    else if (e.key === "ArrowUp") setAt((n) => Math.max(n - 1, 0));
    else if (e.key === "Enter") call(found[at]);
    else return;
    e.preventDefault();
  };
  return (
    <Dialog title="All commands" close={close} cls="e-palette">
      <input type="text" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-activedescendant={found[at] ? "cmd-" + found[at].id : undefined} aria-label="Command" placeholder="What do you want to do?" autoFocus value={wanted}
        onInput={(e) => { setWanted(e.currentTarget.value); setAt(0); }} onKeyDown={keys} />
      <ul role="listbox" id="palette-list" aria-label="Commands" ref={list}>
        {found.map((c, i) => (
          <li key={c.id} id={"cmd-" + c.id} role="option" aria-selected={i === at} onClick={() => call(c)} onPointerMove={() => setAt(i)}>
            <span><small>{c.group}</small> {c.label}</span>{[...(c.both ?? []), ...(c.command ?? [])].slice(0, 1).map((k) => <kbd key={k}>{shown(k)}</kbd>)}
          </li>
        ))}
        {found.length === 0 && <li class="e-none">No command is called so.</li>}
      </ul>
    </Dialog>
  );
}

const editKeys: readonly [string, string][] = [
  ["Escape", "Leave the text, select the cell"], ["Tab", "Complete, or indent"], ["Shift+Tab", "Signature and documentation, or less indentation"],
  ["Ctrl+d", "Also select the next occurrence"], ["Ctrl+/", "Comment the lines out, or in"], ["Ctrl+Shift+-", "Split the cell here"], ["Ctrl+z", "Undo in this cell"],
];

function Help({ close }: { close: () => void }) {
  const rows = (list: readonly (readonly [string, string])[]) => list.map(([key, label]) => <tr key={key + label}><th scope="row"><kbd>{shown(key)}</kbd></th><td>{label}</td></tr>);
  const withKeys = (pick: (c: Command) => readonly string[] | undefined) => commands.flatMap((c) => (pick(c) ?? []).slice(0, 2).map((k): [string, string] => [k, c.label]));
  return (
    <Dialog title="Keys" close={close} cls="e-help">
      <h2>Keys</h2>
      <div class="e-help-cols">
        <table><caption>Anywhere</caption><tbody>{rows(withKeys((c) => c.both))}</tbody></table>
        <table><caption>While a cell is selected (Esc)</caption><tbody>{rows(withKeys((c) => c.command))}</tbody></table>
        <table><caption>While you type (Enter)</caption><tbody>{rows(editKeys)}</tbody></table>
      </div>
      <p><button type="button" class="q-button" onClick={close}>Close</button></p>
    </Dialog>
  );
}

function KernelPicker({ close }: { close: () => void }) {
  const ed = useEditor();
  const specs = useValue(ed.kernels.specs);
  const now = useValue(ed.kernels.name) || ed.kernels.wanted();
  return (
    <Dialog title="Kernel of this notebook" close={close}>
      <h2>Kernel of this notebook</h2>
      {!specs && <p>Asking which kernels there are…</p>}
      <ul class="e-choices">
        {Object.values(specs?.kernelspecs ?? {}).map((s) => (
          <li key={s.name}><button type="button" class="e-item" aria-current={s.name === now || undefined} onClick={() => { close(); ed.attempt("The kernel did not start", ed.kernels.change(s.name)); }}><b>{s.spec.display_name}</b> <span class="e-soft">{s.spec.language}</span></button></li>
        ))}
      </ul>
      <p class="e-soft">Another kernel starts empty: variables of the one before are gone.</p>
      <p><button type="button" class="q-button" onClick={close}>Cancel</button></p>
    </Dialog>
  );
}

function Memory({ close }: { close: () => void }) {
  const ed = useEditor();
  const [status, setStatus] = useState<ServerStatus | null>(null);
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState(false);
  const memory = useRef<HTMLInputElement>(null);
  const cpus = useRef<HTMLInputElement>(null);
  useEffect(() => { ed.platform.server().then(setStatus, (err: unknown) => setWrong(words(err))); }, []);
  const gib = (status?.size?.memoryBytes ?? 0) / 2 ** 30;
  const submit = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    setWrong("");
    try {
      const done = await ed.platform.restartServer({ memoryBytes: Math.round(Number(memory.current?.value) * 2 ** 30), cpuMilli: Math.round(Number(cpus.current?.value) * 1000) });
      close();
      ed.tell(done.message);
    } catch (err) {
      setWrong(words(err));
      setBusy(false);
    }
  };
  return (
    <Dialog title="Restart with more memory" close={close}>
      <h2>Restart with more memory</h2>
      <p>Your notebook server starts anew in a container of this size. Notebooks and their outputs stay; every kernel on it ends, with its variables.</p>
      {status?.ended && <p class="e-soft">The last one ended: {status.ended}</p>}
      {wrong && <p class="e-bad-text" role="alert">{wrong}</p>}
      {!status && !wrong && <p class="e-soft">Asking how large it is now…</p>}
      {status && !status.contained && <p>Your notebook server has no container of its own here, so that there is no size to choose.</p>}
      {status?.contained && (
        <form class="e-sizes" onSubmit={(e) => void submit(e)}>
          <label>Memory, GB <input ref={memory} type="number" min="0.5" step="0.5" required defaultValue={String(gib ? gib * 2 : 8)} autoFocus /> <small class="e-soft">{gib ? `now ${gib}` : ""}</small></label>
          <label>CPUs <input ref={cpus} type="number" min="0.5" step="0.5" required defaultValue={String((status.size?.cpuMilli ?? 1000) / 1000)} /></label>
          <p class="s-acts"><button class="q-button q-primary" disabled={busy}>{busy ? "Restarting…" : "Restart"}</button><button type="button" class="q-button" onClick={close}>Cancel</button></p>
        </form>
      )}
    </Dialog>
  );
}

/** Edits of this device and the server's cells, side by side: mine, theirs, or both. */
function Conflict({ close }: { close: () => void }) {
  const ed = useEditor();
  const recovered = useValue(ed.recovered);
  useEffect(() => { if (!recovered) close(); }, [recovered]);
  if (!recovered) return null;
  const decide = (id: string, choice: "mine" | "theirs" | "both") => {
    const mine = recovered.texts[id] ?? "";
    const key = ed.nb.keyOfId(id);
    const text = key ? ed.nb.text(key) : null;
    if (choice === "mine" && text) replaceText(text, mine, structure);
    else if (choice !== "theirs") insertCells(ed.nb, key ? ed.nb.indexOf(key) + 1 : ed.nb.order.now.length, [{ type: key ? ed.nb.cell(key)?.type ?? "code" : "code", source: mine }]);
    const texts = Object.fromEntries(Object.entries(recovered.texts).filter(([other]) => other !== id));
    if (Object.keys(texts).length > 0) {
      ed.recovered.set({ ...recovered, texts });
    } else {
      ed.recovered.set(null);
      ed.attempt("Not saved", ed.saveNow().then(() => recovered.left.forget()));
    }
  };
  return (
    <Dialog title="Edits of this device" close={close} cls="e-conflict">
      <h2>Edits of this device</h2>
      <p>The notebook on the server went on without these edits. Decide cell by cell; nothing is thrown away before.</p>
      {Object.entries(recovered.texts).map(([id, mine]) => {
        const key = ed.nb.keyOfId(id);
        const theirs = key ? ed.nb.cell(key)?.source ?? "" : "";
        return (
          <section key={id} aria-label={key ? `Cell ${ed.nb.indexOf(key) + 1}` : "A cell that is gone"}>
            <h3>{key ? `Cell ${ed.nb.indexOf(key) + 1}` : "A cell that is gone on the server"}</h3>
            <Diff left={theirs} right={mine} leftLabel="On the server" rightLabel="On this device" />
            <p class="s-acts">
              <button type="button" class="q-button" onClick={() => decide(id, "mine")}>Take mine</button>
              <button type="button" class="q-button" onClick={() => decide(id, "theirs")}>Keep theirs</button>
              <button type="button" class="q-button" onClick={() => decide(id, "both")}>Keep both</button>
            </p>
          </section>
        );
      })}
    </Dialog>
  );
}
