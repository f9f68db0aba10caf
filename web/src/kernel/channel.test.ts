import { expect, test } from "vitest";
import { idOf, stateOf } from "./channel.ts";

const status = (execution_state: string, msg_type: string) => stateOf({ content: { execution_state }, parent_header: { msg_type } });

test("a kernel is busy with code, and not with what is asked while somebody types", () => {
  expect(status("busy", "execute_request")).toBe("busy");
  expect(status("busy", "comm_msg")).toBe("busy");
  expect(status("busy", "kernel_info_request")).toBeNull();
  expect(status("idle", "kernel_info_request")).toBe("idle");
  expect(status("busy", "complete_request")).toBeNull();
  expect(status("busy", "inspect_request")).toBeNull();
  expect(status("idle", "complete_request")).toBe("idle");
  expect(status("dead", "")).toBe("dead");
  expect(status("nonsense", "execute_request")).toBeNull();
});

test("what was seen last is named by its msg_id", () => {
  expect(idOf('{"channel":"iopub","content":{"text":"\\"msg_id\\":\\"x\\"}"},"buffers":[],"msg_id":"a-1","msg_type":"stream"}')).toBe("a-1");
  expect(idOf("b-2")).toBe("b-2");
  expect(idOf("")).toBe("");
  expect(idOf('{"nothing":1}')).toBe("");
});
