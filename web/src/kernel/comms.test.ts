import { expect, test } from "vitest";
import type { Json, JsonObject } from "../notebook/types.ts";
import { Comms, frameMessage, type CommEvent, type FrameMessage } from "./comms.ts";
import type { KernelMessage, KernelPort } from "./port.ts";
import { sameJSON, storedTree, widgetState, widgetStateType } from "./widgetstate.ts";

function setup() {
  const sent: { type: string; content: JsonObject; id: string | undefined }[] = [];
  const port = {
    send(_c: string, type: string, content: JsonObject, more?: { id?: string }) { sent.push({ type, content, id: more?.id }); return more?.id ?? "x"; },
    request: () => Promise.resolve({ comms: { late: { target_name: "jupyter.widget" } } }),
  } as unknown as KernelPort;
  const comms = new Comms(port, "me");
  const told: CommEvent[] = [];
  comms.listen((e) => told.push(e));
  const hear = (msg_type: string, content: Record<string, Json>, parent = "p", session = "me", buffers: DataView[] = []) =>
    comms.hear({ channel: "iopub", header: { msg_id: "m", msg_type }, parent_header: { msg_id: parent, session }, metadata: {}, content, buffers } as KernelMessage);
  const open = (comm_id: string, state: Record<string, Json>) => hear("comm_open", { comm_id, target_name: "jupyter.widget", data: { state } });
  return { comms, sent, told, hear, open };
}

test("a widget is known with all that it is made of, and no sooner", () => {
  const { comms, open, hear } = setup();
  open("box", { children: ["IPY_MODEL_a"], layout: "IPY_MODEL_l" });
  expect(comms.tree("box")).toBeNull();
  open("a", { value: 1 });
  open("l", {});
  expect([...comms.tree("box")?.keys() ?? []].sort()).toEqual(["a", "box", "l"]);
  hear("comm_msg", { comm_id: "a", data: { method: "update", state: { value: 7 } } });
  expect(comms.tree("a")?.get("a")?.state["value"]).toBe(7);
  hear("comm_close", { comm_id: "l" });
  expect(comms.tree("box")).toBeNull();
  comms.reset();
  expect(comms.tree("a")).toBeNull();
});

test("a kernel that was there before is asked for what it has", async () => {
  const { comms, sent, hear } = setup();
  comms.find("late");
  await Promise.resolve().then(() => undefined);
  expect(sent.map((s) => s.content["comm_id"])).toEqual(["late"]);
  hear("comm_msg", { comm_id: "late", data: { method: "update", state: { _model_name: "M" } } });
  expect(comms.tree("late")).not.toBeNull();
});

test("buffers stand where the last message put them", () => {
  const { comms, open, hear } = setup();
  open("a", { value: null });
  const view = (n: number) => new DataView(new Uint8Array([n]).buffer);
  hear("comm_msg", { comm_id: "a", data: { method: "update", state: {}, buffer_paths: [["value"]] } }, "p", "me", [view(1)]);
  hear("comm_msg", { comm_id: "a", data: { method: "update", state: {}, buffer_paths: [["value"]] } }, "p", "me", [view(2)]);
  const model = comms.tree("a")?.get("a");
  expect(model?.paths).toEqual([["value"]]);
  expect(model?.buffers.map((b) => new Uint8Array(b)[0])).toEqual([2]);
});

test("a frame reaches widgets and nothing else", () => {
  const { comms, sent, told, open, hear } = setup();
  open("a", { value: 1 });
  const message = "0".repeat(32);
  const ask = (more: Record<string, unknown>) => frameMessage({ comm: "a", message, data: { method: "update", state: { value: 2 } }, buffers: [], ...more });
  expect(ask({ data: "x" })).toBeNull();
  expect(ask({ message: "../x" })).toBeNull();
  expect(ask({ buffers: ["x"] })).toBeNull();
  comms.send(ask({ comm: "unknown" }) as FrameMessage);
  expect(sent).toEqual([]);
  comms.send(ask({}) as FrameMessage);
  expect(sent.map((s) => [s.type, s.id])).toEqual([["comm_msg", message]]);
  expect(comms.tree("a")?.get("a")?.state["value"]).toBe(2);
  hear("status", { execution_state: "idle" }, message);
  expect(told.at(-1)).toEqual({ kind: "idle", message });
});

test("an Output widget takes what is printed while it is in force, and only who asked tells the kernel", () => {
  const { comms, sent, open, hear } = setup();
  open("o", { _model_module: "@jupyter-widgets/output", msg_id: "", outputs: [] });
  const outputs = () => comms.tree("o")?.get("o")?.state["outputs"];
  hear("stream", { name: "stdout", text: "no" }, "run");
  expect(outputs()).toEqual([]);
  hear("comm_msg", { comm_id: "o", data: { method: "update", state: { msg_id: "run" } } });
  hear("stream", { name: "stdout", text: "a" }, "run");
  hear("stream", { name: "stdout", text: "b" }, "run");
  hear("clear_output", { wait: true }, "run");
  expect(outputs()).toEqual([{ output_type: "stream", name: "stdout", text: "ab" }]);
  hear("display_data", { data: { "text/plain": "c" }, metadata: {}, transient: {} }, "run");
  expect(outputs()).toEqual([{ output_type: "display_data", data: { "text/plain": "c" }, metadata: {} }]);
  hear("comm_msg", { comm_id: "o", data: { method: "update", state: { msg_id: "" } } });
  hear("stream", { name: "stdout", text: "no" }, "run");
  hear("status", { execution_state: "idle" }, "run");
  expect(sent).toHaveLength(1);
  hear("comm_msg", { comm_id: "o", data: { method: "update", state: { msg_id: "theirs" } } });
  hear("stream", { name: "stdout", text: "d" }, "theirs", "another");
  hear("status", { execution_state: "idle" }, "theirs", "another");
  expect(sent).toHaveLength(1);
});

test("what widgets are is kept with the notebook, and what the kernel does not know as it was", () => {
  const { comms, open, hear } = setup();
  const before = { [widgetStateType]: { version_major: 2, version_minor: 0, state: {
    old: { state: { children: ["IPY_MODEL_inner"] } }, inner: { state: {} }, gone: { state: {} },
  } }, other: 1 };
  expect(widgetState(comms, ["old"], before)).toBeNull();
  open("box", { _model_name: "VBoxModel", children: ["IPY_MODEL_a"] });
  expect(widgetState(comms, ["box"], before)).toBeNull(); // not all of it is known
  open("a", { value: 1 });
  open("unused", {});
  hear("comm_msg", { comm_id: "a", data: { method: "update", state: { value: 7 }, buffer_paths: [["bytes"]] } }, "p", "me", [new DataView(new Uint8Array([1, 2]).buffer)]);
  const kept = widgetState(comms, ["box", "old", "nowhere"], before) as JsonObject;
  const state = (kept[widgetStateType] as JsonObject)["state"] as Record<string, JsonObject>;
  expect(kept["other"]).toBe(1);
  expect(Object.keys(state).sort()).toEqual(["a", "box", "inner", "old"]);
  expect(state["box"]?.["model_name"]).toBe("VBoxModel");
  expect(state["a"]).toEqual({ model_name: null, model_module: null, model_module_version: null, state: { value: 7 }, buffers: [{ data: "AQI=", encoding: "base64", path: ["bytes"] }] });
  expect(sameJSON(kept, JSON.parse(JSON.stringify(kept)) as Json)).toBe(true);
  expect(sameJSON(kept, before)).toBe(false);
  // And is read again, with its buffers; what is not all there is not shown.
  expect([...storedTree({ widgets: kept }, "box")?.keys() ?? []]).toEqual(["box", "a"]);
  expect([...new Uint8Array(storedTree({ widgets: kept }, "a")?.get("a")?.buffers[0] ?? new ArrayBuffer(0))]).toEqual([1, 2]);
  expect(storedTree({ widgets: kept }, "gone")).toBeNull();
  expect(storedTree({ widgets: { [widgetStateType]: { state: { bad: { state: {}, buffers: [{ data: "?", path: ["x"] }] } } } } }, "bad")).toBeNull();
});
