import { expect, test, vi } from "vitest";
import type { JupyterAPI, SessionModel } from "../api/jupyter.ts";
import { NotebookDocument } from "../notebook/document.ts";
import { Kernels } from "./kernels.ts";

/** An answer that comes when the test says so. */
function held<T>() {
  let give!: (value: T) => void, refuse!: (err: Error) => void;
  const promise = new Promise<T>((resolve, reject) => { give = resolve; refuse = reject; });
  return { promise, give, refuse };
}

const session = (kernel: string): SessionModel => ({ id: "s", path: "a.ipynb", kernel: { id: kernel, name: "python3", execution_state: "idle" } });

function setup(more: Partial<JupyterAPI>) {
  vi.stubGlobal("WebSocket", class { readyState = 0; close() { /* nothing is connected */ } });
  const api = {
    specs: () => Promise.resolve({ default: "python3", kernelspecs: {} }), sessions: () => Promise.resolve([]), socketURL: () => "ws://x",
    startSession: vi.fn(() => Promise.resolve(session("new"))), execute: vi.fn(() => Promise.resolve(null)), ...more,
  };
  const kernels = new Kernels(api as unknown as JupyterAPI, new NotebookDocument(), () => Promise.resolve());
  return { api, kernels };
}

const moments = async () => { for (let n = 0; n < 50; n++) await Promise.resolve(); };
const asked = (api: { execute: unknown }) => (api.execute as ReturnType<typeof vi.fn>).mock.calls.map(([kernel]) => kernel as string);

test("a cell that is run while the kernel is changed runs in the new one", async () => {
  const answer = held<SessionModel>();
  const { api, kernels } = setup({ changeKernel: () => answer.promise });
  await kernels.ready();
  const changed = kernels.change("ir");
  const ran = kernels.run("d", [{ id: "a", source: "1" }]);
  await moments();
  expect(asked(api)).toEqual([]);
  answer.give(session("changed"));
  await Promise.all([changed, ran]);
  expect(asked(api)).toEqual(["changed"]);
  expect(api.startSession).toHaveBeenCalledTimes(1);
});

test("a kernel that cannot be changed is the one before", async () => {
  const { kernels } = setup({ changeKernel: () => Promise.reject(new Error("no such kernel")) });
  await kernels.ready();
  await expect(kernels.change("ir")).rejects.toThrow("no such kernel");
  expect(kernels.channel.now?.id).toBe("new");
  expect(kernels.state.now).toBe("idle");
});

test("a cell that is run while the kernel ends runs in another one, after it", async () => {
  const answer = held<null>();
  const { api, kernels } = setup({ endSession: () => answer.promise });
  await kernels.ready();
  const ended = kernels.shutdown();
  const ran = kernels.run("d", [{ id: "a", source: "1" }]);
  await moments();
  expect(api.startSession).toHaveBeenCalledTimes(1);
  answer.give(null);
  await Promise.all([ended, ran]);
  expect(api.startSession).toHaveBeenCalledTimes(2);
});

test("a cell that is run while the kernel is looked for runs in what is found", async () => {
  const answer = held<SessionModel[]>();
  const { api, kernels } = setup({ sessions: () => answer.promise });
  const found = kernels.find("a.ipynb");
  const ran = kernels.run("d", [{ id: "a", source: "1" }]);
  answer.give([session("old")]);
  await Promise.all([found, ran]);
  expect(asked(api)).toEqual(["old"]);
  expect(api.startSession).not.toHaveBeenCalled();
});

test("a restart that fails leaves the kernel's state", async () => {
  const { kernels } = setup({ restart: () => Promise.reject(new Error("the server does not answer")) });
  await kernels.ready();
  await expect(kernels.restart()).rejects.toThrow("does not answer");
  expect(kernels.state.now).toBe("idle");
});
