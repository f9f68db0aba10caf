// What the editor asks of the person's notebook server.
import type { AppConfig } from "../config.ts";
import { escapePath } from "../config.ts";
import { ask } from "./http.ts";

export interface KernelModel {
  readonly id: string;
  readonly name: string;
  readonly execution_state: string;
  readonly reason?: string;
}

export interface SessionModel {
  readonly id: string;
  readonly path: string;
  readonly kernel: KernelModel | null;
}

export interface KernelSpec {
  readonly name: string;
  readonly spec: { readonly display_name: string; readonly language: string };
}

export interface KernelSpecs {
  readonly default: string;
  readonly kernelspecs: Readonly<Record<string, KernelSpec>>;
}

export interface DocumentSession {
  readonly fileId: string;
  readonly sessionId: string;
}

export class JupyterAPI {
  readonly #at: string;
  readonly #own: string;

  constructor(config: AppConfig) {
    this.#at = config.server;
    this.#own = config.own;
  }

  openDocument(): Promise<DocumentSession> {
    return ask("PUT", `${this.#at}/api/collaboration/session/${escapePath(this.#own)}`, { body: { format: "json", type: "notebook" } });
  }

  socketURL(path: string, query: Readonly<Record<string, string>>): string {
    const url = new URL(this.#at + path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = new URLSearchParams(query).toString();
    return url.href;
  }

  sessions(): Promise<readonly SessionModel[]> {
    return ask("GET", `${this.#at}/api/sessions`);
  }

  startSession(kernel: string): Promise<SessionModel> {
    return ask("POST", `${this.#at}/api/sessions`, {
      body: { path: this.#own, name: this.#own.split("/").at(-1), type: "notebook", kernel: { name: kernel } },
    });
  }

  changeKernel(session: string, kernel: string): Promise<SessionModel> {
    return ask("PATCH", `${this.#at}/api/sessions/${encodeURIComponent(session)}`, { body: { kernel: { name: kernel } } });
  }

  endSession(session: string): Promise<null> {
    return ask("DELETE", `${this.#at}/api/sessions/${encodeURIComponent(session)}`);
  }

  specs(): Promise<KernelSpecs> {
    return ask("GET", `${this.#at}/api/kernelspecs`);
  }

  kernel(id: string): Promise<KernelModel> {
    return ask("GET", `${this.#at}/api/kernels/${encodeURIComponent(id)}`);
  }

  interrupt(id: string): Promise<null> {
    return ask("POST", `${this.#at}/api/kernels/${encodeURIComponent(id)}/interrupt`);
  }

  restart(id: string): Promise<KernelModel> {
    return ask("POST", `${this.#at}/api/kernels/${encodeURIComponent(id)}/restart`);
  }

  execute(id: string, body: {
    document_id: string; cells: readonly { cell_id: string; source_hash: number }[]; request_id: string; allow_stdin: boolean;
  }): Promise<null> {
    return ask("POST", `${this.#at}/api/kernels/${encodeURIComponent(id)}/execute`, { body });
  }

  answerInput(id: string, document: string, value: string): Promise<null> {
    return ask("POST", `${this.#at}/api/kernels/${encodeURIComponent(id)}/input`, { body: { document_id: document, input: value } });
  }
}
