// What the server says to the page that it sent, in <meta name="quire">.

export interface AppConfig {
  /** The path that all pages are under: "" or "/quire". */
  readonly base: string;
  /** The notebook's path on the platform: "users/ann/reports/daily.ipynb". */
  readonly path: string;
  /** The same below the person's workspace: "reports/daily.ipynb". */
  readonly own: string;
  /** Where the person's notebook server is: "/user/ann". */
  readonly server: string;
  readonly user: { readonly name: string; readonly label: string };
  /** What <style> elements need under the page's policy. */
  readonly nonce: string;
  /** Whether JupyterLab can be opened. */
  readonly lab: boolean;
  /** Whether runs can have a container of their own size. */
  readonly containers: boolean;
}

export function readConfig(doc: Document): AppConfig {
  const text = doc.querySelector<HTMLMetaElement>('meta[name="quire"]')?.content;
  if (!text) throw new Error("the page does not say what it is for");
  return JSON.parse(text) as AppConfig;
}

/** Escapes each name of a slash path for a URL. */
export function escapePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}
