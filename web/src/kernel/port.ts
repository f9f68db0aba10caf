// What parts of the page may ask of the notebook's kernel. The cells themselves
// are run by the server; this is for completion, inspection, widgets and the list
// of variables.
import type { Comms } from "./comms.ts";
import type { Json, JsonObject } from "../notebook/types.ts";

export type Channel = "shell" | "iopub" | "stdin" | "control";

export interface KernelMessage {
  readonly channel: Channel;
  readonly header: { readonly msg_id: string; readonly msg_type: string; readonly session?: string; readonly username?: string; readonly date?: string; readonly version?: string };
  readonly parent_header: { readonly msg_id?: string; readonly msg_type?: string; readonly session?: string };
  readonly metadata: JsonObject;
  readonly content: Readonly<Record<string, Json>>;
  readonly buffers: readonly DataView[];
}

/** A request that runs code out of sight of the document. */
export interface Hidden {
  /** What it put out, as messages, until the kernel was done with it. */
  readonly messages: readonly KernelMessage[];
  /** The content of execute_reply. */
  readonly reply: Readonly<Record<string, Json>>;
}

export type KernelState = "none" | "starting" | "idle" | "busy" | "restarting" | "dead" | "lost";

export interface KernelPort {
  readonly id: string;
  /** The widgets of the kernel. */
  readonly comms: Comms;
  /** How the kernel is now. */
  state(): KernelState;
  /** Calls back for every message of the kernel, from whoever's request; returns how to stop it. */
  listen(heard: (m: KernelMessage) => void): () => void;
  /** Sends a message and returns its msg_id, which may be given, without waiting. */
  send(channel: "shell" | "control" | "stdin", type: string, content: JsonObject, more?: { id?: string; metadata?: JsonObject; buffers?: readonly ArrayBuffer[] }): string;
  /** Sends a request on the shell and waits for the content of its reply; it fails after timeoutMs. */
  request(type: string, content: JsonObject, timeoutMs: number): Promise<Readonly<Record<string, Json>>>;
  /** Runs code silently, outside of the document. */
  run(code: string, timeoutMs: number, expressions?: Readonly<Record<string, string>>): Promise<Hidden>;
}
