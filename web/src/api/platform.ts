// What the editor asks of the platform itself.
import type { AppConfig } from "../config.ts";
import type { JsonObject } from "../notebook/types.ts";
import { ask } from "./http.ts";

export interface ParameterField {
  readonly name: string;
  readonly type: string;
  readonly default: string;
  readonly help: string;
  readonly widget: "text" | "number" | "date" | "checkbox" | "select" | "json" | "secret";
  readonly choices: readonly string[];
  readonly hint: string;
  /** Where the value stands in the cell's source, as text; "" when it cannot be changed there. */
  readonly source: string;
}

export interface Version {
  readonly version: number;
  readonly at: string;
  readonly author?: string;
  readonly cause?: string;
  readonly size: number;
}

export interface Size {
  readonly cpuMilli?: number;
  readonly memoryBytes?: number;
}

/** A part of a container's start. */
export interface StartPhase {
  readonly name: string;
  /** done, now, ahead or ended. */
  readonly state: string;
  readonly message?: string;
  readonly doneBytes?: number;
  /** 0 is not known. */
  readonly totalBytes?: number;
}

/** How the person's notebook server is. */
export interface ServerStatus {
  readonly running: boolean;
  readonly state: string;
  readonly reason?: string;
  readonly ended?: string;
  readonly contained: boolean;
  /** The parts of its container's start. */
  readonly start?: readonly StartPhase[];
  readonly size?: Size;
  readonly usage?: { readonly cpuMilli: number; readonly memoryBytes: number };
}

/** A way to data that %%sql may name. */
export interface Connection {
  readonly name: string;
  readonly engine: string;
  readonly description?: string;
  readonly default?: boolean;
}

export class PlatformAPI {
  readonly #base: string;
  readonly #config: AppConfig;
  #connections: Promise<readonly Connection[]> | undefined;

  constructor(config: AppConfig) {
    this.#base = config.base;
    this.#config = config;
  }

  /** Texts as the viewer shows them, sanitized by the server. */
  render(texts: readonly { source: string; attachments?: JsonObject | null }[]): Promise<{ texts?: readonly string[] }> {
    return ask("POST", `${this.#base}/api/render`, { body: { path: this.#config.path, texts } });
  }

  /** The parameters that a cell's text declares. */
  parameters(source: string, language: string): Promise<{ parameters: readonly ParameterField[]; warnings: readonly string[] }> {
    return ask("POST", `${this.#base}/api/inspect`, { body: { source, language } });
  }

  /** A parameters cell's text with one default changed. */
  assign(source: string, language: string, name: string, value: string): Promise<{ source: string }> {
    return ask("POST", `${this.#base}/api/inspect`, { body: { source, language, set: { name, value } } });
  }

  /** The connections that the person may use; asked for once. */
  connections(): Promise<readonly Connection[]> {
    this.#connections ??= ask<{ connections?: readonly Connection[] }>("GET", `${this.#base}/api/connections`).then((r) => r.connections ?? []);
    this.#connections.catch(() => { this.#connections = undefined; });
    return this.#connections;
  }

  server(): Promise<ServerStatus> {
    return ask("GET", `${this.#base}/api/users/${encodeURIComponent(this.#config.user.name)}/server`);
  }

  /** Tells how the server is, now and whenever that changes, until what is returned is called. */
  watchServer(tell: (status: ServerStatus) => void): () => void {
    const events = new EventSource(`${this.#base}/api/users/${encodeURIComponent(this.#config.user.name)}/server/events`);
    events.addEventListener("server", (e: MessageEvent<string>) => {
      try {
        tell(JSON.parse(e.data) as ServerStatus);
      } catch {
        // What is cut off comes again.
      }
    });
    return () => events.close();
  }

  /** Starts the person's notebook server anew in another size; what is open is saved, kernels end. */
  restartServer(resources: Size): Promise<{ message: string; server: ServerStatus }> {
    return ask("POST", `${this.#base}/api/users/${encodeURIComponent(this.#config.user.name)}/server/restart`, { body: { resources } });
  }
}
