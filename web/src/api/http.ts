// The only place that asks the server for things. What it refuses becomes an
// ApiError with the server's own words.

export class ApiError extends Error {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;

  constructor(status: number, message: string, body: Readonly<Record<string, unknown>>) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.body = body;
  }
}

/** The server could not be reached at all. */
export class NetworkError extends Error {
  constructor() {
    super("the server does not answer");
    this.name = "NetworkError";
  }
}

export interface Ask {
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  readonly keepalive?: boolean;
}

export async function ask<T>(method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE", url: string, more: Ask = {}): Promise<T> {
  let res: Response;
  try {
    res = await fetch(url, {
      method, credentials: "same-origin", redirect: "manual",
      headers: { Accept: "application/json", ...(more.body === undefined ? {} : { "Content-Type": "application/json" }) },
      ...(more.body === undefined ? {} : { body: JSON.stringify(more.body) }),
      ...(more.signal ? { signal: more.signal } : {}),
      ...(more.keepalive ? { keepalive: true } : {}),
    });
  } catch (err) {
    if (more.signal?.aborted) throw err;
    throw new NetworkError();
  }
  const text = await res.text();
  let value: unknown = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    // An answer that is no JSON is told by its status.
  }
  if (!res.ok) throw refusal(res.status, value);
  return value as T;
}

function refusal(status: number, value: unknown): ApiError {
  const body = value && typeof value === "object" ? (value as Record<string, unknown>) : {};
  const words = [body["detail"], body["message"]].find((w) => typeof w === "string" && w !== "");
  return new ApiError(status, typeof words === "string" ? words : `the server answered ${status || "with a redirect"}`, body);
}

/** Asks for a text. */
export async function askText(url: string, signal?: AbortSignal): Promise<string> {
  let res: Response;
  try {
    res = await fetch(url, { credentials: "same-origin", ...(signal ? { signal } : {}) });
  } catch (err) {
    if (signal?.aborted) throw err;
    throw new NetworkError();
  }
  const text = await res.text();
  if (!res.ok) throw refusal(res.status, null);
  return text;
}

export function words(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}
