// Takes a picture of every page, light and dark, wide and narrow, to be looked at:
// node tools/browser/screenshots.mjs FOLDER
import { mkdirSync } from "node:fs";
import path from "node:path";
import { startBrowser, startQuire, until } from "./quire.js";

const folder = process.argv[2] ?? "build/screenshots";
mkdirSync(folder, { recursive: true });
const code = (id, source, metadata = {}) => ({ cell_type: "code", id, metadata, execution_count: null, outputs: [], source });
const notebook = {
  cells: [
    { cell_type: "markdown", id: "t", metadata: {}, source: "# Playback by device\n\nHours **watched** in one country, day by day." },
    code("p", "country: str = \"US\"  # ISO code of the country\ndays = 28  # how many days\nsmooth = True", { tags: ["parameters"] }),
    code("a", "import math\n\nhours = [40 + 12 * math.sin(d / 4) + d % 5 for d in range(days)]\nprint(f\"{country}: {sum(hours):,.0f} hours in {days} days\")"),
    code("plot", "from IPython.display import SVG\npoints = \" \".join(f\"{20 + 24 * i},{150 - 2 * h:.0f}\" for i, h in enumerate(hours))\nSVG(f'<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 700 150\" width=\"700\"><polyline points=\"{points}\" fill=\"none\" stroke=\"#0b57a4\" stroke-width=\"3\"/></svg>')"),
    code("e", "hours[\"fr\"]"),
  ],
  metadata: { kernelspec: { name: "python3", display_name: "Python 3", language: "python" } }, nbformat: 4, nbformat_minor: 5,
};

const quire = await startQuire();
const browser = await startBrowser();
try {
  await quire.save("reports/playback.ipynb", notebook);
  const run = await quire.api("POST", "/api/runs", { notebook: "users/me/reports/playback.ipynb", parameters: { country: "FR" } });
  await until("the run to end", 120, async () => !["queued", "running"].includes((await quire.api("GET", "/api/runs/" + run.id)).state));
  const at = "users/me/reports/playback.ipynb";
  const { id: query } = await quire.api("POST", "/api/queries", { connection: "local", statement: "SELECT n AS day, 40 + n % 7 AS hours\nFROM range(28) AS t(n)" });
  await quire.api("POST", "/api/schedules", { text: `schedule: 1\nname: daily\ntimezone: Europe/Berlin\ntriggers: [{cron: "30 6 * * *"}]\nnotebook: users/me/Welcome.ipynb\n` });
  const fire = await quire.api("POST", "/api/schedules/daily/run", {});
  const template = (await quire.api("GET", "/api/templates")).templates[0].name;
  await until("the fire to end", 120, async () => ["succeeded", "failed"].includes((await quire.api("GET", "/api/schedules/daily/fires/" + fire.id)).state));
  const pages = {
    editor: "/edit/" + at, workspace: "/view/users/me", view: "/view/" + at, versions: "/versions/" + at, runform: "/run/" + at, runs: "/runs", run: "/runs/" + run.id,
    timeline: `/runs/${run.id}/timeline`, schedule: "/schedule/" + at, schedules: "/schedules", compute: "/compute", launch: "/compute/new", search: "/search?q=playback",
    discover: "/discover", templates: "/templates", template: "/templates/" + template, publish: "/publish/" + at, sweep: "/sweep/" + at, trash: "/trash/users/me",
    data: "/data", query: "/query", result: "/query/" + query, people: "/people", account: "/account", results: "/runs?notebook=users/me/Welcome.ipynb&view=results", log: `/runs/${run.id}/log`,
    daily: "/schedules/daily", grid: "/schedules/daily/grid", graph: "/schedules/daily/graph", activity: "/schedules/daily/activity", backfill: "/schedules/daily/backfill", fire: "/schedules/daily/fires/" + fire.id,
    diff: `/diff?a=${at}&b=run:${run.id}`, shared: "/view/users", missing: "/view/users/me/nothing.ipynb", login: "/login",
  };
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 390]) {
      const context = await browser.newContext({ colorScheme, viewport: { width, height: 860 } });
      const page = await context.newPage();
      await page.goto(quire.signIn);
      for (const [name, address] of Object.entries(pages)) {
        await page.goto(quire.base + address);
        if (name === "editor") {
          await page.waitForSelector(".e-cell");
          if (colorScheme === "light" && width === 1280) {
            await page.click("text=Run all");
            await page.click('[role=menuitem]:has-text("Run all cells")');
          }
          await page.locator("#cell-e.e-failed").waitFor({ timeout: 90000 });
          await page.locator("#p-country").waitFor();
        }
        await page.waitForTimeout(400);
        await page.screenshot({ path: path.join(folder, `${name}-${colorScheme}-${width}.png`), fullPage: true });
      }
      await context.close();
    }
  }
} finally {
  await browser.close();
  await quire.stop();
}
