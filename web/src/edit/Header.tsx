// The head of the page: what notebook this is, whether it is saved, who is there,
// and what can be done with it; below it the tools.
import { useEffect, useState } from "preact/hooks";
import { Icon } from "../components/Icon.tsx";
import { Menu } from "../components/Menu.tsx";
import type { ServerStatus, Size } from "../api/platform.ts";
import { escapePath } from "../config.ts";
import * as act from "./actions.ts";
import { safeColor } from "./binding.ts";
import { commandNamed } from "./commands.ts";
import type { SaveState } from "./editor.ts";
import { useEditor, useValue } from "./hooks.ts";
import { shown } from "./keys.ts";

export function Header() {
  const ed = useEditor();
  const { config } = ed;
  const names = (config.own.startsWith(".") ? config.path : config.own).split("/"); // .shared/ is the shared folder
  const at = escapePath(config.path);
  const folder = `${config.base}/view/${escapePath(config.path.split("/").slice(0, -1).join("/"))}`;
  return (
    <header class="e-head">
      <a class="s-brand" href={config.base + "/"}>Quire</a>
      <div class="e-title">
        {names.length > 1 && <><a class="e-folder" href={folder}>{names.slice(0, -1).join(" / ")}</a><span aria-hidden="true">/</span></>}
        <h1>{names.at(-1)}</h1>
      </div>
      <Saved />
      <Present />
      <nav class="e-switch" aria-label="How the notebook is shown">
        <a aria-current="page" href={`${config.base}/edit/${at}`}>Edit</a>
        <a href={`${config.base}/view/${at}`} onClick={(e) => { e.preventDefault(); void ed.saveNow().catch(() => undefined).then(() => location.assign(`${config.base}/view/${at}`)); }}>View</a>
      </nav>
      <Menu label={<><Icon name="play" /> Run as job</>} title="Run as job" cls="e-button e-primary" right items={[
        { label: "Run with parameters…", run: () => commandNamed("run-job")?.run(ed) },
        { label: "Schedule…", run: () => commandNamed("schedule")?.run(ed) },
        { label: "Runs of this notebook", run: () => commandNamed("runs")?.run(ed) },
      ]} />
      <a class="e-button" href={`${config.base}/schedule/${at}`}>Schedule</a>
      <Menu wordless label={<Icon name="more" />} title="More" cls="e-button" right items={[
        ...(config.lab ? [{ label: "Open in JupyterLab", run: () => commandNamed("lab")?.run(ed) }] : []),
        { label: "Version history", run: () => commandNamed("versions")?.run(ed) },
        { label: "Compare with the last version", href: `${config.base}/versions/${at}` },
        { label: "Rename or move", href: `${config.base}/rename/${at}` },
        null,
        { label: "Download .ipynb", href: `${config.base}/view/${at}?as=ipynb` },
        { label: "Download .py", href: `${config.base}/view/${at}?as=py` },
        null,
        { label: "All commands", hint: shown("Ctrl+k"), run: () => ed.dialog.set("palette") },
        { label: "Keys", hint: "?", run: () => ed.dialog.set("help") },
      ]} />
    </header>
  );
}

function savedText(s: SaveState): string {
  switch (s.kind) {
    case "saving": return "Saving…";
    case "failed": return "Not saved: " + s.why;
    case "offline": return "Kept on this device";
    case "saved": return s.at ? "Saved " + s.at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : "Saved";
  }
}

function Saved() {
  const ed = useEditor();
  const save = useValue(ed.save);
  return <span class={"e-saved e-saved-" + save.kind} data-save={save.kind}>{savedText(save)}</span>;
}

interface Person { readonly client: number; readonly name: string; readonly color: string; readonly cell: string | null }

function Present() {
  const ed = useEditor();
  const [people, set] = useState<readonly Person[]>([]);
  useEffect(() => {
    const { awareness } = ed.room;
    const look = () => set([...(awareness.getStates() as Map<number, Record<string, Record<string, unknown> | undefined>>)].filter(([id]) => id !== awareness.clientID).slice(0, 12).map(([client, s]) => ({
      client, name: String(s["user"]?.["display_name"] ?? s["user"]?.["name"] ?? "Somebody").slice(0, 40),
      color: safeColor(s["user"]?.["color"]), cell: typeof s["quire"]?.["cell"] === "string" ? s["quire"]["cell"] : null,
    })));
    awareness.on("change", look);
    look();
    return () => awareness.off("change", look);
  }, [ed]);
  if (people.length === 0) return null;
  return (
    <ul class="e-people" aria-label="Also here">
      {people.map((p) => (
        <li key={p.client}>
          <button type="button" class="e-face" style={{ backgroundColor: p.color }} title={`${p.name} is here too${p.cell ? ": go to their cell" : ""}`} aria-label={p.name}
            onClick={() => { const key = p.cell && ed.nb.keyOfId(p.cell); if (key) { ed.select(key); act.reveal(key); } }}>{p.name.slice(0, 1).toUpperCase()}</button>
        </li>
      ))}
    </ul>
  );
}

export function Toolbar() {
  const ed = useEditor();
  const side = useValue(ed.side);
  const panel = useValue(ed.panel);
  const tool = (id: string, icon: Parameters<typeof Icon>[0]["name"], label: string, word = "") => {
    const c = commandNamed(id);
    const key = c?.both?.[0] ?? c?.command?.[0];
    return <button type="button" class="e-tool" title={key ? `${label} (${shown(key)})` : label} aria-label={word ? undefined : label} onClick={() => c?.run(ed)}><Icon name={icon} />{word}</button>;
  };
  return (
    <div class="e-toolbar" role="toolbar" aria-label="Notebook">
      <button type="button" class="e-tool" aria-pressed={side} aria-label="Outline" title="Outline" onClick={() => ed.side.set(!side)}><Icon name="outline" /></button>
      <span class="e-sep" />
      <button type="button" class="e-tool" title="Insert a code cell below (B)" onClick={() => act.insert(ed, "below", { type: "code", source: "" }, true)}><Icon name="plus" />Code</button>
      {tool("insert-sql", "plus", "Insert an SQL cell below", "SQL")}
      {tool("insert-text", "plus", "Insert a text cell below", "Text")}
      <span class="e-sep" />
      {tool("run-advance", "play", "Run and go to the next cell")}
      {tool("interrupt", "stop", "Interrupt the kernel")}
      {tool("restart", "restart", "Restart the kernel")}
      <Menu label={<><Icon name="all" /> Run all</>} title="Run several cells" cls="e-tool" items={["run-all", "run-above", "run-below", "restart-run-all", "restart-clear", "clear-all"].map((id) => ({ label: commandNamed(id)?.label ?? id, run: () => commandNamed(id)?.run(ed) }))} />
      <span class="e-gap" />
      <KernelChip />
      <span class="e-sep" />
      {tool("find", "search", "Find and replace")}
      {(["comments", "variables"] as const).map((name) => (
        <button key={name} type="button" class="e-tool" aria-pressed={panel === name} aria-label={name === "comments" ? "Comments" : "Variables"} title={name === "comments" ? "Comments" : "Variables"}
          onClick={() => ed.panel.set(panel === name ? null : name)}><Icon name={name === "comments" ? "comment" : "variables"} /></button>
      ))}
    </div>
  );
}

const stateWords = {
  none: "not started", starting: "starting…", idle: "idle", busy: "busy", restarting: "restarting…", dead: "dead", lost: "reconnecting…",
} as const;

function KernelChip() {
  const ed = useEditor();
  const state = useSettled(useValue(ed.kernels.state));
  useValue(ed.kernels.specs);
  useValue(ed.kernels.name);
  useValue(ed.nb.metadata);
  const use = useUse();
  const run = (id: string) => () => commandNamed(id)?.run(ed);
  return (
    <Menu cls={"e-chip e-k-" + state} right title={`Kernel: ${ed.kernels.title()}, ${stateWords[state]}`}
      label={<><span class="e-dot" aria-hidden="true" />{ed.kernels.title()} <span class="e-soft">· {stateWords[state]}</span>{use && <span class="e-soft e-use"> · {use}</span>}</>}
      items={[
        { label: "Interrupt", hint: "I I", run: run("interrupt") },
        { label: "Restart", hint: "0 0", run: run("restart") },
        { label: "Restart and run all", run: run("restart-run-all") },
        ...(ed.config.containers ? [{ label: "Restart with more memory…", run: run("restart-memory") }, { label: "Launch a bigger container…", run: run("launch") }] : []),
        { label: "Shut down", run: run("shutdown") },
        null,
        { label: "Change the kernel…", run: run("change-kernel") },
      ]} />
  );
}

/** Without the flicker of a kernel that is busy for a moment. */
function useSettled<T extends string>(state: T): T {
  const [settled, set] = useState(state);
  useEffect(() => {
    const timer = setTimeout(() => set(state), state === "busy" || state === "idle" ? 120 : 0);
    return () => clearTimeout(timer);
  }, [state]);
  return settled;
}

const lookEveryMs = 10_000;

/** Memory and CPU of the container against its limits, in words; null when there is no saying. */
function useUse(): string | null {
  const ed = useEditor();
  const [status, set] = useState<ServerStatus | null>(null);
  useEffect(() => {
    let stopped = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = () => {
      const later = () => { if (!stopped) timer = setTimeout(look, lookEveryMs); };
      if (document.visibilityState === "hidden") later();
      else ed.platform.server().then((s) => { if (!stopped) set(s); }, () => undefined).finally(later);
    };
    timer = setTimeout(look, 1500);
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }, [ed]);
  return status?.usage ? useWords(status.usage, status.size ?? {}) : null;
}

/** "0.3/2 CPU · 1.2/4 GB" */
export function useWords(usage: Size, limit: Size): string {
  const round = (n: number) => String(n < 10 ? Math.round(n * 10) / 10 : Math.round(n));
  const parts = [];
  if (usage.cpuMilli !== undefined) parts.push(`${round(usage.cpuMilli / 1000)}${limit.cpuMilli ? "/" + round(limit.cpuMilli / 1000) : ""} CPU`);
  if (usage.memoryBytes !== undefined) {
    const used = usage.memoryBytes < 0.1 * 2 ** 30 ? `${Math.round(usage.memoryBytes / 2 ** 20)} MB` : round(usage.memoryBytes / 2 ** 30);
    parts.push(limit.memoryBytes ? `${used}/${round(limit.memoryBytes / 2 ** 30)} GB` : used.endsWith("MB") ? used : used + " GB");
  }
  return parts.join(" · ");
}
