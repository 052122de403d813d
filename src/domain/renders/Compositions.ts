/**
 * The registry of compositions: which there are, and the one with a given id.
 *
 * It is made from modules rather than from values, because a composition has functions and is needed in the render
 * threads too: each thread imports the same modules.
 */
import { Context, Effect, Layer } from "effect"
import type { Composition } from "./Composition.ts"
import { RenderError, UnknownComposition } from "./RenderError.ts"

const BUILT_IN = new URL("./compositions/BuiltIn.ts", import.meta.url)

/** Imports composition modules; rejects when one lists none or an id comes twice. */
export const importCompositions = async (
  modules: ReadonlyArray<string>,
): Promise<ReadonlyMap<string, Composition>> => {
  const byId = new Map<string, Composition>()
  for (const url of modules) {
    const module: { readonly compositions?: ReadonlyArray<Composition> } = await import(url)
    if (module.compositions === undefined) throw new Error(`${url} exports no compositions`)
    for (const composition of module.compositions) {
      if (byId.has(composition.id)) throw new Error(`The composition ${composition.id} is defined twice`)
      byId.set(composition.id, composition)
    }
  }
  return byId
}

export class Compositions extends Context.Service<
  Compositions,
  {
    /** In the order they were registered. */
    readonly list: ReadonlyArray<Composition>
    /** Fails with `UnknownComposition`. */
    readonly get: (id: string) => Effect.Effect<Composition, RenderError>
    /** URLs of the modules, for the render threads. */
    readonly modules: ReadonlyArray<string>
  }
>()("renderowl/domain/renders/Compositions") {
  /** The built-in compositions and those of further modules, given by file URL. */
  static readonly layer = (more: ReadonlyArray<URL> = []): Layer.Layer<Compositions> =>
    Layer.effect(
      Compositions,
      Effect.promise(async () => {
        const modules = [BUILT_IN, ...more].map(String)
        const byId = await importCompositions(modules)
        return {
          list: [...byId.values()],
          modules,
          get: (id) => {
            const found = byId.get(id)
            return found === undefined
              ? Effect.fail(
                  new RenderError({
                    reason: new UnknownComposition({ composition_id: id, known: [...byId.keys()] }),
                  }),
                )
              : Effect.succeed(found)
          },
        }
      }),
    )
}
