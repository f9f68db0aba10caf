// The page of the editor.
import { useEffect, useState } from "preact/hooks";
import type { AppConfig } from "../config.ts";
import { Announcer } from "./Announcer.tsx";
import { Banners } from "./Banners.tsx";
import { Dialogs } from "./Dialogs.tsx";
import "./edit.css";
import { Editor } from "./editor.ts";
import { FindBar } from "./FindBar.tsx";
import { Header, Toolbar } from "./Header.tsx";
import { EditorProvider, useEditor, useValue } from "./hooks.ts";
import { Notebook } from "./Notebook.tsx";
import { Outline, RightPanel } from "./Panels.tsx";
import { StatusBar } from "./StatusBar.tsx";

export function EditorPage({ config }: { config: AppConfig }) {
  const [round, setRound] = useState(0);
  const [ed, setEditor] = useState<Editor | null>(null);
  useEffect(() => {
    const made = new Editor(config);
    setEditor(made);
    made.start();
    // A document of another history is begun again; what was only here is shown to decide on.
    const stop = made.restart.listen((yes) => { if (yes) setRound((n) => n + 1); });
    return () => {
      stop();
      made.stop();
    };
  }, [config, round]);
  if (!ed) return null;
  return <EditorProvider value={ed}><Page key={round} /></EditorProvider>;
}

function Page() {
  const ed = useEditor();
  const side = useValue(ed.side);
  const gone = useValue(ed.gone);
  if (gone) {
    return (
      <main class="s-card">
        <h1>This notebook cannot be opened</h1>
        <p>{gone}</p>
        <p class="s-acts"><a class="q-button q-primary" href={`${ed.config.base}/view/users/${encodeURIComponent(ed.config.user.name)}`}>My workspace</a><button type="button" class="q-button" onClick={() => location.reload()}>Try again</button></p>
      </main>
    );
  }
  return (
    <div class="e-page">
      <a class="q-skip" href="#cells">Skip to the cells</a>
      <Header />
      <Toolbar />
      <FindBar />
      <Banners />
      <div class="e-columns">
        {side && <Outline />}
        <main class="e-main" id="cells"><Notebook /></main>
        <RightPanel />
      </div>
      <StatusBar />
      <Dialogs />
      <Announcer />
    </div>
  );
}
