/**
 * Cuts a run of timed words into captions: few enough words to be read at a glance, breaking where speech does.
 */

/** A word and when it is spoken, in seconds. */
export interface TimedWord {
  readonly text: string
  readonly start_sec: number
  readonly end_sec: number
}

/** Words shown together. Seconds. */
export interface Caption {
  readonly words: ReadonlyArray<TimedWord>
  readonly start: number
  /** When it leaves: at the next caption, or a moment after its last word. */
  readonly end: number
}

/** Silence that ends a caption. */
const PAUSE_SEC = 0.55
/** How long a caption stays after its last word when nothing follows. */
const LINGER_SEC = 0.6
/** Letters after which a caption is full, whatever the number of words. */
const LETTERS_MAX = 26

const endsSentence = (word: string): boolean => /[.!?…]["'”’)]*$/u.test(word)

/** Captions of at most `wordsMax` words each; `words` are in order of time. */
export const groupWords = (words: ReadonlyArray<TimedWord>, wordsMax: number): ReadonlyArray<Caption> => {
  const groups: Array<Array<TimedWord>> = []
  let letters = 0
  for (const word of words) {
    const group = groups.at(-1)
    const last = group?.at(-1)
    if (
      group === undefined ||
      last === undefined ||
      group.length >= wordsMax ||
      letters + word.text.length > LETTERS_MAX ||
      word.start_sec - last.end_sec > PAUSE_SEC ||
      endsSentence(last.text)
    ) {
      groups.push([word])
      letters = word.text.length
    } else {
      group.push(word)
      letters += word.text.length + 1
    }
  }
  return groups.map((group, index) => {
    const start = group[0]?.start_sec ?? 0
    const spoken = group.at(-1)?.end_sec ?? start
    return {
      words: group,
      start,
      end: Math.min(spoken + LINGER_SEC, groups[index + 1]?.[0]?.start_sec ?? Infinity),
    }
  })
}
