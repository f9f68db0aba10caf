import { defineConfig } from "vitest/config";

// The app is served under <base>/static/app/. Nothing in it is inline: the page's policy
// allows scripts and styles of its own server only.
export default defineConfig({
  base: "./",
  build: {
    outDir: "dist/app",
    emptyOutDir: true,
    manifest: "manifest.json",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    // The pages' own stylesheet has light-dark(), which must stay what it is: what it
    // would be lowered to asks for variables that nothing sets.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    rollupOptions: { input: ["src/main.tsx", "src/view.ts"] },
  },
  test: { include: ["src/**/*.test.{ts,tsx}"], environment: "happy-dom", testTimeout: 60_000, hookTimeout: 60_000 },
});
