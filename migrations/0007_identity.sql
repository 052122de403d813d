-- Keys with limits and rotation, when they were last used, and who did what.

-- migrate:up

ALTER TABLE api_keys RENAME TO api_keys_before;
CREATE TABLE api_keys (
  hash    TEXT PRIMARY KEY,          -- SHA-256 of a secret, hexadecimal
  stream  TEXT    NOT NULL,          -- key_01k…
  current INTEGER NOT NULL           -- 1, or 0: the one before the last rotation
) STRICT, WITHOUT ROWID;
CREATE INDEX api_keys_of_stream ON api_keys (stream);
INSERT INTO api_keys (hash, stream, current) SELECT hash, stream, 1 FROM api_keys_before;
DROP TABLE api_keys_before;

-- The keys that were not revoked, for lists.
CREATE TABLE issued_keys (
  position    INTEGER PRIMARY KEY,   -- of the ApiKeyCreated event, which names the stream
  owner       TEXT    NOT NULL,
  admin_until INTEGER                -- milliseconds, 9007199254740991 for ever; null: it does not hold admin
) STRICT;
CREATE INDEX issued_keys_of_owner ON issued_keys (owner);
INSERT INTO issued_keys (position, owner, admin_until)
SELECT e.position,
       e.data ->> '$.owner',
       CASE WHEN EXISTS (SELECT 1 FROM json_each(e.data, '$.scopes') WHERE value = 'admin')
            THEN 9007199254740991 END
  FROM api_keys k JOIN events e ON e.stream = k.stream AND e.version = 1;

-- No projection: nothing of the journal says it.
CREATE TABLE api_key_uses (
  stream  TEXT    PRIMARY KEY,       -- key_01k…
  used_at INTEGER NOT NULL           -- milliseconds, to the minute
) STRICT, WITHOUT ROWID;

-- The audit trail is the journal itself: events that a caller caused name it. What workers do is in neither index.
CREATE INDEX events_audited ON events (recorded_at) WHERE metadata ->> '$.principal' IS NOT NULL;
CREATE INDEX events_audited_by ON events (metadata ->> '$.principal', recorded_at)
  WHERE metadata ->> '$.principal' IS NOT NULL;

-- migrate:down

DROP INDEX events_audited_by;
DROP INDEX events_audited;
DROP TABLE api_key_uses;
DROP TABLE issued_keys;
ALTER TABLE api_keys RENAME TO api_keys_after;
CREATE TABLE api_keys (
  hash   TEXT PRIMARY KEY,           -- SHA-256 of the whole key, hexadecimal
  stream TEXT NOT NULL UNIQUE        -- key_01k…
) STRICT, WITHOUT ROWID;
INSERT INTO api_keys (hash, stream) SELECT hash, stream FROM api_keys_after WHERE current = 1;
DROP TABLE api_keys_after;
