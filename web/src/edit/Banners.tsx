// What stands above the cells when something is not as it should be, with what to
// do about it.
import { Icon } from "../components/Icon.tsx";
import * as act from "./actions.ts";
import { useEditor, useValue } from "./hooks.ts";
import { Starting } from "./Starting.tsx";

export function Banners() {
  const ed = useEditor();
  const connection = useValue(ed.room.connection);
  const state = useValue(ed.kernels.state);
  const reason = useValue(ed.kernels.reason);
  const recovered = useValue(ed.recovered);
  const notice = useValue(ed.notice);
  return (
    <div class="e-banners">
      {connection === "lost" && <p class="e-banner e-warn" role="status"><span>Reconnecting… your edits are kept on this device.</span></p>}
      <Starting />
      {state === "dead" && (
        <div class="e-banner e-bad" role="alert">
          <span><b>The kernel died.</b> {reason || "It did not say why."}</span>
          <button type="button" class="q-button q-primary" onClick={() => act.restart(ed)}>Restart</button>
          {ed.config.containers && <button type="button" class="q-button" onClick={() => ed.dialog.set("memory")}>Restart with more memory</button>}
        </div>
      )}
      {recovered && (
        <div class="e-banner e-warn" role="alert">
          <span>{Object.keys(recovered.texts).length === 1 ? "One cell has" : `${Object.keys(recovered.texts).length} cells have`} edits from this device that the notebook on the server does not have.</span>
          <button type="button" class="q-button q-primary" onClick={() => ed.dialog.set("conflict")}>Look at them</button>
        </div>
      )}
      {notice && (
        <p class={notice.bad ? "e-banner e-bad" : "e-banner"}>
          <span>{notice.text}</span>
          {notice.action && <button type="button" class="q-button" onClick={() => { notice.action?.run(); ed.notice.set(null); }}>{notice.action.label}</button>}
          <button type="button" class="e-tool" aria-label="Dismiss" onClick={() => ed.notice.set(null)}><Icon name="close" /></button>
        </p>
      )}
    </div>
  );
}
