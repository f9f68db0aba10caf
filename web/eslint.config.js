import tseslint from "typescript-eslint";

const noFetch = { name: "fetch", message: "Only src/api calls fetch." };

export default tseslint.config(
  { ignores: ["dist/**", "node_modules/**"] },
  {
    files: ["src/**/*.{ts,tsx}"],
    extends: [tseslint.configs.strict, tseslint.configs.stylistic],
    rules: {
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "no-restricted-globals": ["error", noFetch],
      "no-restricted-syntax": ["error", { selector: "ExportDefaultDeclaration", message: "Name what is exported." }],
      "max-lines": ["error", 600],
      eqeqeq: ["error", "always", { null: "ignore" }],
    },
  },
  { files: ["src/api/**"], rules: { "no-restricted-globals": "off" } },
  {
    // The document's logic knows no framework and no page.
    files: ["src/notebook/**", "src/kernel/**", "src/live/**", "src/api/**"],
    ignores: ["**/*.test.*"],
    rules: { "no-restricted-imports": ["error", { patterns: ["preact*", "**/edit/*", "**/outputs/*", "**/explorer/*", "**/components/*"] }] },
  },
  {
    files: ["src/outputs/**", "src/explorer/**", "src/components/**"],
    rules: { "no-restricted-imports": ["error", { patterns: ["**/edit/*"] }] },
  },
);
