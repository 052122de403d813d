/**
 * How files are named that are not complete yet: what a killed command leaves is told from everything else by it.
 */

/** Within the name of the folder that a backup is made in. */
export const PARTIAL_BACKUP = ".partial-"
/** Behind the name of a file that a restore copies. */
export const RESTORING = ".restoring"
