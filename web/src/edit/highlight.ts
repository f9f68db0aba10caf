// Colours of code, with the classes that the viewer's pages have, so that the same
// code looks the same in both.
import { StreamLanguage, type Language } from "@codemirror/language";
import { pythonLanguage } from "@codemirror/lang-python";
import { highlightCode, tagHighlighter, tags as t } from "@lezer/highlight";
import { Value } from "../notebook/value.ts";

export const classes = tagHighlighter([
  { tag: [t.comment, t.lineComment, t.blockComment, t.docComment], class: "c" },
  { tag: [t.keyword, t.controlKeyword, t.moduleKeyword, t.definitionKeyword, t.operatorKeyword, t.modifier], class: "k" },
  { tag: [t.bool, t.null, t.self, t.atom], class: "k" },
  { tag: [t.string, t.special(t.string), t.regexp, t.character, t.escape, t.docString], class: "s" },
  { tag: [t.number, t.integer, t.float], class: "m" },
  { tag: [t.function(t.definition(t.variableName)), t.definition(t.className), t.heading, t.typeName], class: "nf" },
  { tag: [t.standard(t.name), t.standard(t.variableName), t.attributeName], class: "nb" },
  { tag: [t.meta, t.annotation, t.labelName], class: "nd" },
  { tag: [t.operator, t.punctuation, t.bracket, t.derefOperator], class: "o" },
  { tag: t.strong, class: "gs" },
  { tag: t.emphasis, class: "ge" },
  { tag: [t.link, t.url], class: "na" },
  { tag: t.monospace, class: "s" },
]);

const known = new Map<string, Language>([["python", pythonLanguage]]);
const asked = new Set<string>();
/** Counts up when a language has been loaded. */
export const loaded = new Value(0);

const loaders: Record<string, () => Promise<Language>> = {
  sql: async () => (await import("@codemirror/lang-sql")).StandardSQL.language,
  markdown: async () => (await import("@codemirror/lang-markdown")).markdownLanguage,
  r: async () => StreamLanguage.define((await import("@codemirror/legacy-modes/mode/r")).r),
  julia: async () => StreamLanguage.define((await import("@codemirror/legacy-modes/mode/julia")).julia),
  scala: async () => StreamLanguage.define((await import("@codemirror/legacy-modes/mode/clike")).scala),
  javascript: async () => StreamLanguage.define((await import("@codemirror/legacy-modes/mode/javascript")).javascript),
  typescript: async () => StreamLanguage.define((await import("@codemirror/legacy-modes/mode/javascript")).typescript),
  bash: async () => StreamLanguage.define((await import("@codemirror/legacy-modes/mode/shell")).shell),
};

const others: Record<string, string> = { python3: "python", ipython: "python", pyspark: "python", sh: "bash", shell: "bash", spark: "scala" };

/** The language of that name when it is loaded; otherwise it is asked for. */
export function languageNamed(name: string): Language | null {
  const key = others[name] ?? name;
  const language = known.get(key);
  if (language) return language;
  const load = loaders[key];
  if (load && !asked.has(key)) {
    asked.add(key);
    load().then((l) => {
      known.set(key, l);
      loaded.set(loaded.now + 1);
    }, () => asked.delete(key));
  }
  return null;
}

export interface Piece {
  readonly text: string;
  readonly cls: string;
}

/** How long a text is coloured while nobody edits it; a longer one is shown plain. */
const maxColoured = 100_000;

/** The text in pieces of one colour. */
export function pieces(source: string, language: Language | null): Piece[] {
  if (!language || source.length > maxColoured) return [{ text: source, cls: "" }];
  const list: Piece[] = [];
  highlightCode(source, language.parser.parse(source), classes, (text, cls) => list.push({ text, cls }), () => list.push({ text: "\n", cls: "" }));
  return list;
}
