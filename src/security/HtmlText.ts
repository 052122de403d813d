/**
 * Text in HTML: whatever it holds, it is shown as the characters that it is. For the content of elements and for values of
 * attributes in quotes; scripts, styles and URLs are other languages, and nothing from outside belongs there.
 */

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
}

export const escape = (text: string): string => text.replace(/[&<>"']/g, (character) => ENTITIES[character]!)
