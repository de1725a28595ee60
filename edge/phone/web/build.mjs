// Build the web app into a folder: `node build.mjs [FOLDER]`, by default dist/.
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "dist");
const runtime = join(here, "node_modules/onnxruntime-web/dist");

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
cpSync(join(here, "static"), out, { recursive: true });
// The default import of onnxruntime-web is twice as large; WebGPU crashes on iOS, so the CPU's file alone is taken.
for (const name of ["ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"]) cpSync(join(runtime, name), join(out, name));

const options = {
  absWorkingDir: here,
  bundle: true,
  charset: "utf8",
  conditions: ["onnxruntime-web-use-extern-wasm"], // the .mjs and .wasm are files beside ours
  format: "esm",
  legalComments: "inline",
  minify: true,
  outdir: out,
  target: ["es2022", "safari16.4", "chrome109", "firefox115"],
};
await build({ ...options, entryPoints: ["src/app.ts", "src/worker.ts"] });

// The service worker knows every file, its SHA-256 and size, and a version that changes with any of them. It leaves out
// what is kept packed here, the notices of 335 kB: no phone has to keep them.
const files = readdirSync(out, { recursive: true, withFileTypes: true })
  .filter((each) => each.isFile() && !each.name.endsWith(".xz"))
  .map((each) => join(each.parentPath ?? each.path, each.name).slice(out.length + 1))
  .sort();
const described = {};
for (const file of files) {
  const data = readFileSync(join(out, file));
  described[file] = [createHash("sha256").update(data).digest("hex"), data.length];
}
const version = createHash("sha256").update(JSON.stringify(described)).digest("hex").slice(0, 12);
await build({
  ...options,
  entryPoints: ["src/sw.ts"],
  format: "iife",
  define: { APP_VERSION: JSON.stringify(version), APP_FILES: JSON.stringify(described) },
});
