-- The journal: one append-only log of every event, in the order in which they were committed.

-- migrate:up

CREATE TABLE events (
  position    INTEGER PRIMARY KEY,   -- 1, 2, 3 … over all streams, no gaps
  stream      TEXT    NOT NULL,      -- the actor's id: job_01k…, proj_01k…, queue/renders
  version     INTEGER NOT NULL,      -- 1, 2, 3 … within the stream
  type        TEXT    NOT NULL,      -- JobEnqueued
  revision    INTEGER NOT NULL,      -- of the event type's shape; older ones are upcast on read
  data        TEXT    NOT NULL,      -- JSON
  metadata    TEXT,                  -- JSON: principal, correlation, causation, traceparent; null when there is none
  recorded_at INTEGER NOT NULL,      -- milliseconds since 1970
  UNIQUE (stream, version)
) STRICT;

CREATE TRIGGER events_refuse_update BEFORE UPDATE ON events
BEGIN
  SELECT RAISE(ABORT, 'events are immutable');
END;

CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events
BEGIN
  SELECT RAISE(ABORT, 'events are immutable');
END;

-- A cache of folded state: safe to empty at any time.
CREATE TABLE snapshots (
  stream   TEXT    PRIMARY KEY,
  version  INTEGER NOT NULL,
  revision INTEGER NOT NULL,         -- of the state's shape; another one is ignored
  state    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- migrate:down

DROP TABLE snapshots;
DROP TRIGGER events_refuse_delete;
DROP TRIGGER events_refuse_update;
DROP TABLE events;
