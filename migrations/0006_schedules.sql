-- Schedules: an inline projection of their events, so that the next one that is due is found by index.

-- migrate:up

CREATE TABLE schedules (
  position     INTEGER PRIMARY KEY,  -- of the ScheduleCreated event, which names the stream
  next_tick_at INTEGER,              -- milliseconds; null: there is no tick any more
  paused       INTEGER NOT NULL,     -- 0 or 1
  owed_job     TEXT                  -- the job that the newest tick has promised, until it is there
) STRICT;
CREATE INDEX schedules_due ON schedules (next_tick_at) WHERE paused = 0;

-- migrate:down

DROP TABLE schedules;
