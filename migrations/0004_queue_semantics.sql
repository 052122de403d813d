-- What some jobs have beside a place in their queue: a concurrency key, a deadline, other jobs to wait for. Jobs without
-- any of it cost what they cost before.

-- migrate:up

ALTER TABLE jobs ADD COLUMN concurrency_key TEXT;
ALTER TABLE jobs ADD COLUMN expires_at INTEGER;   -- milliseconds; no attempt starts from then on

-- Two more codes of jobs.status: 5 blocked, it waits for other jobs; 6 behind, it waits behind another job of its
-- concurrency key. Of each key only the first job in each lane is plainly waiting (0): a tenant with a million jobs
-- takes one place in the index of what could start, whoever comes after it is found at once.
CREATE INDEX jobs_keyed ON jobs (queue, type, priority, concurrency_key, status, due_at)
  WHERE concurrency_key IS NOT NULL AND status IN (0, 6);
CREATE INDEX jobs_behind ON jobs (queue, type, priority, due_at) WHERE status = 6;
CREATE INDEX jobs_blocked ON jobs (status) WHERE status = 5;
CREATE INDEX jobs_expiring ON jobs (queue, expires_at) WHERE expires_at IS NOT NULL AND status IN (0, 5, 6);

-- Who waits for whom, as long as it is not settled.
CREATE TABLE job_dependencies (
  dependency INTEGER NOT NULL,       -- jobs.position
  dependent  INTEGER NOT NULL,       -- jobs.position
  outcome    INTEGER,                -- jobs.status with which the dependency ended; null while it has not
  PRIMARY KEY (dependency, dependent)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_dependencies_of    ON job_dependencies (dependent);
-- What the dependents have still to be told.
CREATE INDEX job_dependencies_ended ON job_dependencies (outcome) WHERE outcome IS NOT NULL;

DROP VIEW job_overview;
CREATE VIEW job_overview AS
SELECT e.stream AS id,
       q.name AS queue,
       t.name AS type,
       CASE j.priority WHEN 0 THEN 'urgent' WHEN 1 THEN 'high' WHEN 2 THEN 'normal' ELSE 'low' END AS priority,
       CASE WHEN j.status IN (0, 6)
            THEN CASE WHEN j.due_at > unixepoch('subsec') * 1000 THEN 'scheduled' ELSE 'pending' END
            ELSE CASE j.status WHEN 1 THEN 'processing' WHEN 2 THEN 'completed' WHEN 3 THEN 'dead_letter'
                               WHEN 4 THEN 'cancelled' ELSE 'scheduled' END END AS status,
       j.attempt AS attempts,
       j.concurrency_key AS concurrency_key,
       strftime('%Y-%m-%dT%H:%M:%fZ', e.recorded_at / 1000.0, 'unixepoch') AS created_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', j.due_at / 1000.0, 'unixepoch') AS due_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', j.expires_at / 1000.0, 'unixepoch') AS expires_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', j.finished_at / 1000.0, 'unixepoch') AS finished_at
  FROM jobs j
  JOIN events e      ON e.position = j.position
  JOIN queue_names q ON q.id = j.queue
  JOIN job_types t   ON t.id = j.type;

-- migrate:down

DROP VIEW job_overview;
DROP TABLE job_dependencies;
DROP INDEX jobs_expiring;
DROP INDEX jobs_blocked;
DROP INDEX jobs_behind;
DROP INDEX jobs_keyed;
ALTER TABLE jobs DROP COLUMN expires_at;
ALTER TABLE jobs DROP COLUMN concurrency_key;
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
