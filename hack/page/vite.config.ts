import { defineConfig } from "vite";

// The page works below any path: index.html has a <base> that the server sets,
// and everything else is named relative to it.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../../cmd/moq/internal/demo/dist",
    emptyOutDir: true, // public/.keep comes back with every build
    target: "es2022",
    assetsInlineLimit: 0, // the content security policy allows no data: URLs
    license: { fileName: "licenses.md" },
    chunkSizeWarningLimit: 800,
  },
  worker: { format: "es" },
});
