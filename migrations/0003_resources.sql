-- Projections of what RenderOwl itself knows: projects, renders, and the keys that open the API.

-- migrate:up

CREATE TABLE projects (
  position INTEGER PRIMARY KEY,      -- of the ProjectCreated event, which names the stream
  archived INTEGER NOT NULL          -- 0 or 1
) STRICT;
CREATE INDEX projects_live ON projects (archived) WHERE archived = 0;

CREATE TABLE renders (
  position INTEGER PRIMARY KEY,      -- of the JobEnqueued event of the render's job
  project  TEXT    NOT NULL
) STRICT;
CREATE INDEX renders_of_project ON renders (project);

CREATE TABLE api_keys (
  hash   TEXT PRIMARY KEY,           -- SHA-256 of the whole key, hexadecimal
  stream TEXT NOT NULL UNIQUE        -- key_01k…
) STRICT, WITHOUT ROWID;

-- migrate:down

DROP TABLE api_keys;
DROP TABLE renders;
DROP TABLE projects;
