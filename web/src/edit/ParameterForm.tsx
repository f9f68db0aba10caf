// The form beside the cell of the parameters: it changes the cell, and the cell
// changes it.
import { useEffect, useState } from "preact/hooks";
import type * as Y from "yjs";
import type { ParameterField } from "../api/platform.ts";
import type { Cell } from "../notebook/document.ts";
import { replaceText, structure } from "../notebook/edits.ts";
import { useEditor } from "./hooks.ts";

const changes = new WeakMap<Y.Text, Promise<void>>();

/**
 * Has the server write a value into a text, one after the other. What was typed while
 * it answered stays: it is asked again, with that.
 */
export function assign(text: Y.Text, ask: (source: string) => Promise<{ source: string }>): Promise<void> {
  const done = (changes.get(text) ?? Promise.resolve()).then(async () => {
    for (;;) {
      const before = text.toJSON();
      const { source } = await ask(before);
      if (text.toJSON() !== before) continue;
      replaceText(text, source, structure);
      return;
    }
  });
  changes.set(text, done.catch(() => undefined));
  return done;
}

export function ParameterForm({ cell }: { cell: Cell }) {
  const ed = useEditor();
  const [fields, setFields] = useState<readonly ParameterField[] | null>(null);
  useEffect(() => {
    let current = true;
    const timer = setTimeout(() => {
      ed.platform.parameters(cell.source, ed.nb.language).then((r) => { if (current) setFields(r.parameters); }, () => undefined);
    }, 250);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [cell.source]);
  const change = (name: string, value: string) => {
    const text = ed.nb.text(cell.key);
    if (!text) return;
    ed.attempt(`${name} was not changed`, assign(text, (source) => ed.platform.assign(source, ed.nb.language, name, value)));
  };
  if (!fields) return null;
  return (
    <form class="e-form" aria-label="Parameters" onSubmit={(e) => e.preventDefault()} onKeyDown={(e) => { if (e.key !== "Escape" && !e.ctrlKey && !e.metaKey) e.stopPropagation(); }}>
      {fields.length === 0 ? <p class="e-none">Assign a value to a name, as in <code>country = "FR"</code>, and it is a parameter.</p>
        : fields.map((f) => <Field key={f.name} field={f} change={(v) => change(f.name, v)} />)}
    </form>
  );
}

function Field({ field, change: changed }: { field: ParameterField; change: (value: string) => void }) {
  // What was chosen stays while the cell's text is written and read again.
  const [chosen, choose] = useState<string | null>(null);
  useEffect(() => choose(null), [field]);
  const change = (value: string) => { choose(value); changed(value); };
  const shown = chosen ?? field.default;
  const id = "p-" + field.name;
  const common = { id, title: field.hint, disabled: !field.source, "aria-describedby": field.help ? id + "-h" : undefined };
  const onChange = (e: { currentTarget: HTMLInputElement | HTMLSelectElement }) => {
    if (e.currentTarget.value !== field.default) change(e.currentTarget.value);
  };
  return (
    <div class="e-field">
      <label for={id}>{field.name}<small>{field.type}</small></label>
      {field.widget === "checkbox"
        ? <input {...common} type="checkbox" checked={shown === "true" || shown === "True"} onChange={(e) => change(String(e.currentTarget.checked))} />
        : field.widget === "select"
          ? <select {...common} value={shown} onChange={onChange}>{field.choices.map((c) => <option key={c} value={c}>{c}</option>)}</select>
          : <input {...common} type={inputTypes[field.widget] as "text"} step="any" value={shown} onChange={onChange} />}
      {field.help && <small id={id + "-h"}>{field.help}</small>}
    </div>
  );
}

const inputTypes: Record<ParameterField["widget"], string> = {
  text: "text", number: "number", date: "date", checkbox: "checkbox", select: "text", json: "text", secret: "password",
};
