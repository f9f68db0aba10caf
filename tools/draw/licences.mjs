// Prints the licences of the packages that a bundle of esbuild is made of:
// node licences.mjs META.json FOLDER
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";

const [meta, folder] = process.argv.slice(2);
const inputs = Object.keys(JSON.parse(readFileSync(meta, "utf8")).inputs).map((name) => name.replace(/^\(disabled\):/, ""));
const packages = new Set(inputs.map((name) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(name)?.[1]).filter(Boolean));
const seen = new Map();
for (const at of [...packages].sort()) {
  const dir = path.resolve(folder, at);
  const { name, version, license, licenses } = JSON.parse(readFileSync(path.join(dir, "package.json"), "utf8"));
  const file = readdirSync(dir).find((f) => /^licen[cs]e/i.test(f));
  const text = file ? readFileSync(path.join(dir, file), "utf8").trim() : "";
  console.log(`${name} ${version}: ${license ?? licenses?.[0]?.type}`);
  if (text) seen.set(text, [...(seen.get(text) ?? []), name]);
}
for (const [text, names] of seen) console.log(`\n${names.join(", ")}\n\n${text}`);
