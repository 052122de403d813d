-- Moving finished streams to the archive file: the one way for events to leave, and what is known of those that did.

-- migrate:up

-- A permit to delete the events of one stream. Its foreign key can never be satisfied and is checked at COMMIT, so a
-- transaction that leaves a permit behind cannot be committed.
CREATE TABLE archiving_is_over (id INTEGER PRIMARY KEY CHECK (id IS NULL)) STRICT;
CREATE TABLE archiving (
  stream TEXT    PRIMARY KEY,
  over   INTEGER NOT NULL DEFAULT 1 REFERENCES archiving_is_over (id) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

DROP TRIGGER events_refuse_delete;
CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events
WHEN NOT EXISTS (SELECT 1 FROM archiving WHERE stream = OLD.stream)
BEGIN
  SELECT RAISE(ABORT, 'events are immutable');
END;

-- One row. With it the positions of `events` are accounted for: as many are missing below the head as `events` says.
CREATE TABLE archived (
  id            INTEGER PRIMARY KEY CHECK (id = 1),
  streams       INTEGER NOT NULL,      -- that left the journal
  events        INTEGER NOT NULL,      -- of theirs
  last_position INTEGER NOT NULL,      -- the highest that left: positions are not given twice
  last_stream   TEXT    NOT NULL       -- the greatest id that left, by UTF-16 code units: those above it never did
) STRICT;
INSERT INTO archived VALUES (1, 0, 0, 0, '');

-- migrate:down

-- An older release knows no archive and would take archived streams for ones that never were.
CREATE TABLE archived_streams (count INTEGER CONSTRAINT nothing_is_archived CHECK (count = 0)) STRICT;
INSERT INTO archived_streams SELECT streams FROM archived;
DROP TABLE archived_streams;

DROP TABLE archived;
DROP TRIGGER events_refuse_delete;
CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events
BEGIN
  SELECT RAISE(ABORT, 'events are immutable');
END;
DROP TABLE archiving;
DROP TABLE archiving_is_over;
