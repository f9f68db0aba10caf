// Asks an R kernel what variables it has, out of sight: the code runs in an environment
// of its own, and IRkernel neither counts nor keeps what is silent. It knows no
// expressions beside the code, so that the answer comes as a display of a type that
// nobody shows.
import type { Hidden, KernelPort } from "../kernel/port.ts";
import type { DataOutput, Json, JsonObject } from "../notebook/types.ts";
import { tableBytes, tableRows, timeoutMs, type Variable } from "./inspect.ts";
import { tableOutput } from "./table.ts";

const answerType = "application/vnd.quire.variables+json";

/** What our code begins with: IRkernel announces silent code, too. */
const mark = "# The editor's list of variables.\n";

/** Whether code that a kernel announces is of this list. */
export const isListing = (code: Json | undefined) => typeof code === "string" && code.startsWith(mark);

// It calls no method of classes that it does not know, which might do anything.
const listing = `
short <- function(text, n) substr(iconv(paste(text, collapse = " "), to = "UTF-8", sub = "?"), 1L, n)
counted <- function(n) paste(format(n, big.mark = ",", trim = TRUE, scientific = FALSE), collapse = " \\u00d7 ")
known <- c("data.frame", "factor", "Date", "POSIXct", "difftime", "table", "noquote")
rows <- list()
for (name in sort(ls(user))) {
  if (length(rows) >= 500L) break
  row <- list(name = short(name, 200L), type = "", shape = "", bytes = 0, preview = "", table = FALSE)
  if (bindingIsActive(as.name(name), user)) {
    row$type <- "active binding"
    rows[[length(rows) + 1L]] <- row
    next
  }
  v <- get(name, envir = user, inherits = FALSE)
  if (is.function(v)) next
  try({
    row$type <- short(class(v)[1L], 100L)
    row$bytes <- as.numeric(utils::object.size(v))
    plain <- !is.object(v)
    if (inherits(v, "data.frame")) {
      row$shape <- counted(c(.row_names_info(v, 2L), length(unclass(v))))
      row$preview <- short(paste(utils::head(attr(v, "names"), 20L), collapse = ", "), 200L)
      row$table <- TRUE
    } else if (plain && is.matrix(v)) {
      row$shape <- counted(attr(v, "dim"))
      row$table <- is.atomic(v)
    } else if (plain && is.array(v)) {
      row$shape <- counted(attr(v, "dim"))
    } else if (plain && (is.atomic(v) || is.list(v)) || inherits(v, known)) {
      n <- length(v)
      if (n != 1L && !is.null(v)) row$shape <- counted(n)
      part <- v[seq_len(min(n, 20L))]
      text <- if (plain) deparse(part, width.cutoff = 200L, nlines = 1L, control = c("keepNA", "niceNames"))[1L] else paste(format(part), collapse = ", ")
      row$preview <- short(if (n > 20L) paste(text, "\\u2026") else text, 200L)
    }
  }, silent = TRUE)
  rows[[length(rows) + 1L]] <- row
}
out <- jsonlite::toJSON(list(variables = rows), auto_unbox = TRUE, digits = NA)
`;

const reading = `
v <- get(wanted, envir = user, inherits = FALSE)
frame <- inherits(v, "data.frame")
whole <- if (frame) .row_names_info(v, 2L) else attr(v, "dim")[1L]
n <- min(limit, whole)
plain <- function(x) {
  if (inherits(x, "POSIXt")) format(x, "%Y-%m-%dT%H:%M:%S")
  else if (is.factor(x) || inherits(x, c("Date", "integer64", "difftime")) || is.complex(x)) as.character(x)
  else if (is.list(x)) vapply(x, function(one) substr(deparse(one, nlines = 1L)[1L], 1L, 200L), "")
  else if (is.numeric(x) || is.logical(x)) as.vector(x)
  else as.character(x)
}
repeat {
  part <- v[seq_len(n), , drop = FALSE]
  labels <- if (frame) (if (.row_names_info(v) > 0L) attr(part, "row.names")) else dimnames(part)[[1L]]
  columns <- if (frame) unclass(as.data.frame(part)) else lapply(seq_len(ncol(part)), function(i) part[, i])
  names <- if (frame) attr(v, "names") else if (is.null(colnames(v))) paste0("V", seq_len(ncol(v))) else colnames(v)
  columns <- columns[seq_len(min(length(columns), 200L))]
  names <- names[seq_along(columns)]
  if (!is.null(labels)) {
    columns <- c(list(labels), columns)
    names <- c("index", names)
  }
  names <- make.unique(as.character(names), sep = " ")
  texts <- vapply(columns, function(x) as.character(jsonlite::toJSON(plain(x), na = "null", digits = NA)), "")
  if (sum(nchar(texts, "bytes")) <= most || n <= 10L) break
  n <- n %/% 2L
}
out <- paste0('{"names":', jsonlite::toJSON(names), ',"columns":[', paste(texts, collapse = ","), '],"whole":', format(whole, scientific = FALSE), "}")
`;

/** Code that runs apart from the person's variables, whatever they have redefined. */
export function hiddenR(code: string, given: Readonly<Record<string, string | number>> = {}): string {
  const more = Object.entries(given).map(([name, v]) => `${name} <- ${JSON.stringify(v)}\n`).join("");
  return `${mark}base::invisible(base::local({
user <- globalenv()
${more}out <- tryCatch({${code}out
}, error = function(e) jsonlite::toJSON(list(error = conditionMessage(e)), auto_unbox = TRUE))
getOption("jupyter.base_display_func")(list(\`${answerType}\` = as.character(out)), NULL)
}, envir = base::new.env(parent = base::baseenv())))`;
}

/** Reads the answer of such code. */
export function answerOf(done: Hidden): JsonObject {
  for (const m of done.messages) {
    const text = m.header.msg_type === "display_data" ? (m.content["data"] as JsonObject | undefined)?.[answerType] : undefined;
    if (typeof text !== "string") continue;
    const answer = JSON.parse(text) as JsonObject;
    if (typeof answer["error"] === "string") throw new Error(answer["error"].slice(0, 300));
    return answer;
  }
  throw new Error("the kernel gave no answer");
}

export async function listVariablesR(kernel: KernelPort): Promise<readonly Variable[]> {
  const list = answerOf(await kernel.run(hiddenR(listing), timeoutMs))["variables"];
  return Array.isArray(list) ? list as unknown as Variable[] : [];
}

/** The first rows of a data frame or matrix, as an output. */
export async function readTableR(kernel: KernelPort, name: string): Promise<DataOutput> {
  const done = await kernel.run(hiddenR(reading, { wanted: name, limit: tableRows, most: tableBytes }), 3 * timeoutMs);
  const t = answerOf(done) as unknown as { names: string[]; columns: Json[][]; whole: number };
  const rows = (t.columns[0] ?? []).map((_, n) => t.columns.map((c) => c[n] ?? null));
  return tableOutput(t.names, rows, t.whole);
}
