-- Analytics: what happened in each hour and each day, as an async projection of the journal, and how far it has come.

-- migrate:up

-- A projection that has run on this database has a row. Its rows and this one are written in one transaction.
CREATE TABLE projection_checkpoints (
  name          TEXT    PRIMARY KEY,
  archive_block INTEGER NOT NULL,     -- the last block of the archive that is in its rows; only at position 0 are there more
  position      INTEGER NOT NULL      -- so are the events of the journal up to here: no later one leaves for the archive
) STRICT, WITHOUT ROWID;

-- Durations are sums, extremes and buckets ("3:1 17:2", see DurationBuckets.ts); extremes are null where there is none.
CREATE TABLE analytics_hourly (
  start             INTEGER NOT NULL, -- milliseconds since 1970, of the hour in UTC
  dimension         TEXT    NOT NULL, -- all, queue, type, project, principal, composition, route
  name              TEXT    NOT NULL, -- of the queue, type, …; empty for all
  created           INTEGER NOT NULL, -- jobs
  started           INTEGER NOT NULL, -- attempts
  completed         INTEGER NOT NULL, -- jobs
  failed            INTEGER NOT NULL, -- jobs that became dead letters
  cancelled         INTEGER NOT NULL, -- jobs
  retried           INTEGER NOT NULL, -- attempts that failed or stalled and are followed by another
  stalled           INTEGER NOT NULL, -- attempts
  redriven          INTEGER NOT NULL, -- jobs
  frames            INTEGER NOT NULL, -- of completed renders
  video_ms          INTEGER NOT NULL,
  output_bytes      INTEGER NOT NULL,
  requests          INTEGER NOT NULL, -- to the API
  wait_ms           INTEGER NOT NULL, -- from due to started, of every attempt
  wait_ms_min       INTEGER,
  wait_ms_max       INTEGER,
  wait_buckets      TEXT    NOT NULL,
  processing_ms     INTEGER NOT NULL, -- of the attempts that completed their job
  processing_ms_min INTEGER,
  processing_ms_max INTEGER,
  processing_buckets TEXT   NOT NULL,
  PRIMARY KEY (start, dimension, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE analytics_daily (
  start             INTEGER NOT NULL, -- of the day in UTC; all else as in analytics_hourly
  dimension         TEXT    NOT NULL,
  name              TEXT    NOT NULL,
  created           INTEGER NOT NULL,
  started           INTEGER NOT NULL,
  completed         INTEGER NOT NULL,
  failed            INTEGER NOT NULL,
  cancelled         INTEGER NOT NULL,
  retried           INTEGER NOT NULL,
  stalled           INTEGER NOT NULL,
  redriven          INTEGER NOT NULL,
  frames            INTEGER NOT NULL,
  video_ms          INTEGER NOT NULL,
  output_bytes      INTEGER NOT NULL,
  requests          INTEGER NOT NULL,
  wait_ms           INTEGER NOT NULL,
  wait_ms_min       INTEGER,
  wait_ms_max       INTEGER,
  wait_buckets      TEXT    NOT NULL,
  processing_ms     INTEGER NOT NULL,
  processing_ms_min INTEGER,
  processing_ms_max INTEGER,
  processing_buckets TEXT   NOT NULL,
  PRIMARY KEY (start, dimension, name)
) STRICT, WITHOUT ROWID;

-- One row. From where on each table is kept: the projection makes nothing older, and what is there of it may go. It only
-- moves forward, so a rebuild leaves out what was left out before.
CREATE TABLE analytics_retention (
  id          INTEGER PRIMARY KEY CHECK (id = 1),
  hourly_from INTEGER NOT NULL,       -- milliseconds since 1970
  daily_from  INTEGER NOT NULL
) STRICT;
INSERT INTO analytics_retention VALUES (1, 0, 0);

-- migrate:down

DROP TABLE analytics_retention;
DROP TABLE analytics_daily;
DROP TABLE analytics_hourly;
DROP TABLE projection_checkpoints;
