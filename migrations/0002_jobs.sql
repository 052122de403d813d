-- The queue tables: an inline projection of job events, narrow and keyed by integers because bytes are the cost.
-- A row's key is the position of its JobEnqueued event, which holds the payload and the id.

-- migrate:up

CREATE TABLE queue_names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE job_types   (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

CREATE TABLE jobs (
  position    INTEGER PRIMARY KEY,
  queue       INTEGER NOT NULL,      -- queue_names.id
  type        INTEGER NOT NULL,      -- job_types.id
  priority    INTEGER NOT NULL,      -- 0 urgent, 1 high, 2 normal, 3 low
  status      INTEGER NOT NULL,      -- 0 waiting, 1 processing, 2 completed, 3 dead letter, 4 cancelled
  due_at      INTEGER NOT NULL,      -- milliseconds; a waiting job is scheduled until then, pending from then on
  attempt     INTEGER NOT NULL,      -- attempts started
  finished_at INTEGER                -- milliseconds; null while the job is alive
) STRICT;

-- Each is touched only by jobs of its status. The row's position follows the last column by itself.
CREATE INDEX jobs_waiting    ON jobs (queue, type, priority, due_at) WHERE status = 0;
CREATE INDEX jobs_processing ON jobs (status) WHERE status = 1;
CREATE INDEX jobs_dead       ON jobs (status) WHERE status = 3;
CREATE INDEX jobs_cancelled  ON jobs (status) WHERE status = 4;

CREATE TABLE job_keys (
  queue    INTEGER NOT NULL,
  key      TEXT    NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (queue, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_tags (
  tag      TEXT    NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (tag, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_counts (
  queue    INTEGER NOT NULL,
  type     INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  status   INTEGER NOT NULL,
  jobs     INTEGER NOT NULL,
  PRIMARY KEY (queue, type, priority, status)
) STRICT, WITHOUT ROWID;

-- For people.
CREATE VIEW job_overview AS
SELECT e.stream AS id,
       q.name AS queue,
       t.name AS type,
       CASE j.priority WHEN 0 THEN 'urgent' WHEN 1 THEN 'high' WHEN 2 THEN 'normal' ELSE 'low' END AS priority,
       CASE j.status WHEN 0 THEN CASE WHEN j.due_at > unixepoch('subsec') * 1000 THEN 'scheduled' ELSE 'pending' END
                     WHEN 1 THEN 'processing' WHEN 2 THEN 'completed' WHEN 3 THEN 'dead_letter' ELSE 'cancelled' END AS status,
       j.attempt AS attempts,
       strftime('%Y-%m-%dT%H:%M:%fZ', e.recorded_at / 1000.0, 'unixepoch') AS created_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', j.due_at / 1000.0, 'unixepoch') AS due_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', j.finished_at / 1000.0, 'unixepoch') AS finished_at
  FROM jobs j
  JOIN events e      ON e.position = j.position
  JOIN queue_names q ON q.id = j.queue
  JOIN job_types t   ON t.id = j.type;

-- migrate:down

DROP VIEW job_overview;
DROP TABLE job_counts;
DROP TABLE job_tags;
DROP TABLE job_keys;
DROP TABLE jobs;
DROP TABLE job_types;
DROP TABLE queue_names;
