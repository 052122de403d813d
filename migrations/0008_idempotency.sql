-- Requests with an Idempotency-Key: what they were, what they caused, and how they were answered.

-- migrate:up

-- No projection, although the row commits with the events of its request: rows go after 24 hours, and answers are no events.
CREATE TABLE keyed_requests (
  key            BLOB    PRIMARY KEY,  -- SHA-256 of caller, method, path and Idempotency-Key
  id             TEXT    NOT NULL,     -- by which the events' metadata name the request
  fingerprint    BLOB    NOT NULL,     -- SHA-256 of what must be the same when it comes again
  started_at     INTEGER NOT NULL,     -- milliseconds
  seed           BLOB,                 -- sealed; null once it is answered
  first_position INTEGER,              -- of its events; null: it caused none
  last_position  INTEGER,
  events         INTEGER NOT NULL,     -- how many it caused
  answer         BLOB                  -- sealed; null: it was interrupted, or its answer is not kept
) STRICT;
CREATE INDEX keyed_requests_by_age ON keyed_requests (started_at);
CREATE INDEX keyed_requests_unanswered ON keyed_requests (id) WHERE answer IS NULL;

-- migrate:down

DROP TABLE keyed_requests;
