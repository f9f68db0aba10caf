// Notebooks for the tests.

export function notebook(cells, metadata = {}) {
  return {
    nbformat: 4, nbformat_minor: 5, cells: cells.map((c, n) => ({ id: "c" + n, metadata: {}, ...c })),
    metadata: { kernelspec: { name: "python3", display_name: "Python 3", language: "python" }, language_info: { name: "python" }, ...metadata },
  };
}

export const text = (source, more = {}) => ({ cell_type: "markdown", source, ...more });
export const code = (source, more = {}) => ({ cell_type: "code", source, execution_count: null, outputs: [], ...more });
export const shown = (data, metadata = {}) => code("show()", { execution_count: 1, outputs: [{ output_type: "display_data", data, metadata }] });

const dot = "iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAYAAACNMs+9AAAAFUlEQVR42mNk+M9Qz0AEYBxVSF+FABJADveWkH6oAAAAAElFTkSuQmCC";

// everything holds an output of every kind that the viewer has a form for.
export function everything() {
  return notebook([
    text("# Everything\n\nText, `code`, **bold**, $\\frac{a}{b}$, [a link](https://example.org/), ~~gone~~\n\n> quoted\n\n| a | b |\n|:--|--:|\n| 1 | 2 |\n\n- [x] done\n- [ ] open\n\n```python\nprint(1)\n```"),
    text("## Formulas\n\n$$\\begin{pmatrix} a & b \\\\ c & d \\end{pmatrix}, \\sum_{i=1}^{n} \\sqrt{x_i}, \\int_0^\\infty e^{-x^2}\\,dx$$"),
    code('country = "US"  # ISO code\ndays: int = 7', { metadata: { tags: ["parameters", "a-tag"] }, execution_count: 1 }),
    code("print()", { execution_count: 2, outputs: [
      { output_type: "stream", name: "stdout", text: [30, 31, 32, 33, 34, 35, 36, 37, 90, 91, 92, 93, 94, 95, 96, 97].map((n) => `\x1b[${n}mcolour ${n}\x1b[0m \x1b[1;${n}mbold\x1b[0m \x1b[${n + 10}mon it\x1b[0m\n`).join("") },
      { output_type: "stream", name: "stderr", text: "a warning\n" + "long ".repeat(200) }] }),
    code("1/0", { execution_count: 3, outputs: [{ output_type: "error", ename: "ZeroDivisionError", evalue: "division by zero", traceback: ["\x1b[0;31m---\x1b[0m", "\x1b[0;32m<ipython>\x1b[0m in 1"] }] }),
    shown({ "image/png": dot, "text/plain": "<Figure>" }),
    shown({ "image/svg+xml": '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="40"><rect width="100" height="40" fill="teal"/></svg>' }),
    shown({ "text/html": "<table class='dataframe' border='1'><thead><tr style='text-align: right;'><th></th><th>hours</th></tr></thead><tbody><tr><th>0</th><td>1.5</td></tr></tbody></table>", "text/plain": "hours" }),
    shown({ "application/json": { a: [1, 2, { b: null }], c: "text", d: true } }),
    shown({ "application/vnd.dataresource+json": { schema: { fields: [{ name: "a", type: "integer" }] }, data: [{ a: 1 }, { a: 2 }] } }),
    shown({ "text/markdown": "**markdown** of a cell" }),
    shown({ "text/latex": "$\\alpha^2$" }),
    shown({ "application/javascript": "alert(1)" }),
    shown({ "text/html": "<div id=x>before</div><script>document.getElementById('x').textContent = 'drawn by script'</script>" }),
    { cell_type: "raw", source: "raw text", metadata: { format: "text/restructuredtext" } },
  ], { title: "Everything at once", authors: [{ name: "A. Person" }] });
}
