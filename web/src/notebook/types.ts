// A notebook's parts as nbformat 4 has them, as plain data.

export type CellType = "code" | "markdown" | "raw";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export type JsonObject = Readonly<Record<string, Json>>;

/** Media types to data, as a kernel sent it: text, base64 for pictures, JSON. */
export type MimeBundle = Readonly<Record<string, Json>>;

export interface StreamOutput {
  readonly output_type: "stream";
  readonly name: "stdout" | "stderr";
  readonly text: string;
}

export interface DataOutput {
  readonly output_type: "display_data" | "execute_result";
  readonly data: MimeBundle;
  readonly metadata: JsonObject;
  readonly execution_count?: number | null;
}

export interface ErrorOutput {
  readonly output_type: "error";
  readonly ename: string;
  readonly evalue: string;
  readonly traceback: readonly string[];
}

export type CellOutput = StreamOutput | DataOutput | ErrorOutput;
