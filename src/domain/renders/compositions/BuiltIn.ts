/**
 * The compositions that come with RenderOwl. A module like this one, listing compositions under `compositions`, is how
 * programs add their own: the render threads import it by its URL.
 */
import type { Composition } from "../Composition.ts"
import { BarChartRace } from "./BarChartRace.ts"
import { Captions } from "./Captions.ts"
import { Slideshow } from "./Slideshow.ts"
import { TitleCard } from "./TitleCard.ts"

export const compositions: ReadonlyArray<Composition> = [TitleCard, Captions, Slideshow, BarChartRace]
