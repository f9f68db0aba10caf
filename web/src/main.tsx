import { render } from "preact";
import { readConfig } from "./config.ts";
import { EditorPage } from "./edit/EditorPage.tsx";

const root = document.getElementById("app");
if (root) render(<EditorPage config={readConfig(document)} />, root);
