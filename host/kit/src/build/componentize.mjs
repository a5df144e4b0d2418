// Run by `sluice policy build` in the project's folder: node --eval … -- FILE
import { readFile, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { componentize } from "@bytecodealliance/componentize-js";

const [file] = process.argv.slice(1);
const manifest = JSON.parse(await readFile("package.json", "utf8"));
try {
  const { component } = await componentize({
    sourcePath: resolve(manifest.main ?? "policy.js"),
    witPath: resolve("wit"),
    worldName: "policy",
    // Each of these would import WASI, which no gateway offers.
    disableFeatures: ["random", "stdio", "clocks", "http", "fetch-event"],
  });
  await writeFile(file, component);
} catch (error) {
  console.error(String(error?.message ?? error));
  process.exitCode = 1;
}
