import { defineConfig, mergeConfig } from "vite";
import base from "./vite.config.ts";

// The page of the bench: the same sources over a server in memory.
export default mergeConfig(base, defineConfig({ root: "bench", build: { outDir: "dist", emptyOutDir: true } }));
