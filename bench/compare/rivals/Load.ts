/**
 * Loads the packages of this folder. They are no dependencies of RenderOwl: whoever wants the comparison installs them here,
 * and Node finds them because this file lies beside them.
 */
import { readFileSync } from "node:fs"

const manifest = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8")) as {
  readonly dependencies: Readonly<Record<string, string>>
}

/** The exact version of a package that this folder asks for. */
export const versionOf = (name: string): string => manifest.dependencies[name]!

/** A package of this folder, as the caller says that it looks; undefined when it is not installed. */
export const load = async <Module>(name: string): Promise<Module | undefined> => {
  try {
    return (await import(name)) as Module
  } catch (cause) {
    if ((cause as { readonly code?: unknown }).code === "ERR_MODULE_NOT_FOUND") return undefined
    throw cause
  }
}
