import { render } from "preact";
import { expect, test, vi } from "vitest";
import type { KernelMessage, KernelPort } from "../kernel/port.ts";
import { Variables } from "./Variables.tsx";

const patience = { timeout: 30_000 };

test("a cell that ends while the variables are asked for has them asked for again", async () => {
  const answers: ((name: string) => void)[] = [];
  let hear: (m: KernelMessage) => void = () => undefined;
  const kernel = {
    id: "k", state: () => "idle", listen: (heard: typeof hear) => { hear = heard; return () => undefined; },
    run: () => new Promise((done) => answers.push((name) => {
      const text = btoa(JSON.stringify({ variables: [{ name, type: "int", shape: "", bytes: 0, preview: "", table: false }] }));
      done({ messages: [], reply: { user_expressions: { quire: { status: "ok", data: { "text/plain": `'${text}'` } } } } });
    })),
  } as unknown as KernelPort;
  const place = document.createElement("div");
  render(<Variables kernel={kernel} language="python" />, place);
  await vi.waitFor(() => expect(answers).toHaveLength(1), patience);
  const message = (msg_type: string, content: object) => ({ channel: "iopub", header: { msg_id: "m", msg_type }, parent_header: {}, metadata: {}, content, buffers: [] }) as unknown as KernelMessage;
  hear(message("execute_input", { code: "later = 1" }));
  hear(message("status", { execution_state: "idle" }));
  answers[0]?.("before");
  await vi.waitFor(() => expect(answers).toHaveLength(2), patience);
  answers[1]?.("later");
  await vi.waitFor(() => expect(place.textContent).toContain("later"), patience);
  hear(message("status", { execution_state: "starting" }));
  await vi.waitFor(() => expect(place.textContent).toContain("No variables yet"), patience);
});
