/**
 * A project: what renders belong to, with the settings they start from. An actor; `ProjectBehavior` below is all of its
 * rules. Archiving is its end: an archived project takes no changes and no renders.
 */
import { Schema } from "effect"
import { Rpc } from "effect/rpc"
import * as Actor from "../../actor/Actor.ts"
import { accept, type Accepted, type Behavior, refuse } from "../../actor/Behavior.ts"
import { eventType } from "../../journal/DomainEvent.ts"

/** What a render of the project is like unless it says otherwise. */
export const ProjectSettings = Schema.Struct({
  /** Pixels. */
  default_width: Schema.Int,
  /** Pixels. */
  default_height: Schema.Int,
  /** Frames a second. */
  default_fps: Schema.Int,
  /** Seconds, where the composition takes a length; null: as long as the composition is by itself. */
  default_duration_sec: Schema.NullOr(Schema.Finite),
})
export type ProjectSettings = typeof ProjectSettings.Type

/** An upright video as phones show it. */
export const DEFAULT_SETTINGS: ProjectSettings = {
  default_width: 1080,
  default_height: 1920,
  default_fps: 30,
  default_duration_sec: null,
}

const ProjectCreated = Schema.TaggedStruct("ProjectCreated", {
  name: Schema.String,
  description: Schema.NullOr(Schema.String),
  settings: ProjectSettings,
  /** The user it belongs to. */
  owner: Schema.String,
})
const ProjectChanged = Schema.TaggedStruct("ProjectChanged", {
  name: Schema.optionalKey(Schema.String),
  description: Schema.optionalKey(Schema.NullOr(Schema.String)),
  settings: Schema.optionalKey(ProjectSettings),
})
const ProjectArchived = Schema.TaggedStruct("ProjectArchived", {})

export type ProjectEvent =
  | typeof ProjectCreated.Type
  | typeof ProjectChanged.Type
  | typeof ProjectArchived.Type

/** No project has this id. */
export class ProjectNotFound extends Schema.TaggedError<ProjectNotFound>()("ProjectNotFound", {
  id: Schema.String,
}) {}

/** The project was archived. */
export class ProjectIsArchived extends Schema.TaggedError<ProjectIsArchived>()("ProjectIsArchived", {
  id: Schema.String,
}) {}

/** The change was meant for another version than the present one. */
export class ProjectChangedMeanwhile extends Schema.TaggedError<ProjectChangedMeanwhile>()(
  "ProjectChangedMeanwhile",
  {
    id: Schema.String,
    version: Schema.Int,
  },
) {}

export const ProjectState = Schema.Struct({
  status: Schema.Literals(["absent", "active", "archived"]),
  /** How often it was written: the version that `If-Match` names. */
  version: Schema.Int,
  name: Schema.String,
  description: Schema.NullOr(Schema.String),
  settings: ProjectSettings,
  owner: Schema.String,
  createdAt: Schema.Int,
  updatedAt: Schema.Int,
})
export type ProjectState = typeof ProjectState.Type

const changes = {
  name: Schema.optionalKey(Schema.String),
  description: Schema.optionalKey(Schema.NullOr(Schema.String)),
  settings: Schema.optionalKey(Schema.Struct(ProjectSettings.fields).mapFields(optionalFields)),
}

function optionalFields(fields: typeof ProjectSettings.fields) {
  return {
    default_width: Schema.optionalKey(fields.default_width),
    default_height: Schema.optionalKey(fields.default_height),
    default_fps: Schema.optionalKey(fields.default_fps),
    default_duration_sec: Schema.optionalKey(fields.default_duration_sec),
  }
}

const refusals = Schema.Union([ProjectNotFound, ProjectIsArchived, ProjectChangedMeanwhile])

const commands = [
  Rpc.make("Create", {
    payload: {
      name: Schema.String,
      description: Schema.NullOr(Schema.String),
      settings: ProjectSettings,
      owner: Schema.String,
    },
    success: ProjectState,
  }),
  /** `ifVersions`: the versions that the change was made for; absent: whichever is there. */
  Rpc.make("Change", {
    payload: { ...changes, ifVersions: Schema.optionalKey(Schema.Array(Schema.Int)) },
    success: ProjectState,
    error: refusals,
  }),
  Rpc.make("Archive", {
    payload: { ifVersions: Schema.optionalKey(Schema.Array(Schema.Int)) },
    success: ProjectState,
    error: refusals,
  }),
  Rpc.make("Get", { success: ProjectState, error: ProjectNotFound }),
] as const

type ProjectCommands = (typeof commands)[number]

const absent: ProjectState = {
  status: "absent",
  version: 0,
  name: "",
  description: null,
  settings: DEFAULT_SETTINGS,
  owner: "",
  createdAt: 0,
  updatedAt: 0,
}

const itself = (state: ProjectState) => state

/** Whether the project can be written, by somebody who has seen one of these versions. */
const writable = (
  state: ProjectState,
  id: string,
  ifVersions: ReadonlyArray<number> | undefined,
  decide: () => Accepted<ProjectState, ProjectEvent, ProjectState>,
) => {
  if (state.status === "absent") return refuse(new ProjectNotFound({ id }))
  if (state.status === "archived") return refuse(new ProjectIsArchived({ id }))
  if (ifVersions !== undefined && !ifVersions.includes(state.version)) {
    return refuse(new ProjectChangedMeanwhile({ id, version: state.version }))
  }
  return decide()
}

export const ProjectBehavior: Behavior<ProjectState, ProjectEvent, ProjectCommands> = {
  initial: absent,
  decide: {
    Create: (state, project) =>
      // Ids are made for one project each; the same creation again is the same project.
      state.status === "absent"
        ? accept([{ _tag: "ProjectCreated", ...project }], itself)
        : accept([], itself),
    Change: (state, { ifVersions, settings, ...rest }, { id }) =>
      writable(state, id, ifVersions, () =>
        accept(
          [
            {
              _tag: "ProjectChanged",
              ...rest,
              ...(settings === undefined ? {} : { settings: { ...state.settings, ...settings } }),
            },
          ],
          itself,
        ),
      ),
    Archive: (state, { ifVersions }, { id }) =>
      writable(state, id, ifVersions, () => accept([{ _tag: "ProjectArchived" }], itself)),
    Get: (state, _payload, { id }) =>
      state.status === "absent" ? refuse(new ProjectNotFound({ id })) : accept([], itself),
  },
  evolve: (state, event, at) => {
    const written = { ...state, version: state.version + 1, updatedAt: at }
    switch (event._tag) {
      case "ProjectCreated": {
        const { _tag, ...project } = event
        return { ...written, ...project, status: "active", createdAt: at }
      }
      case "ProjectChanged": {
        const { _tag, ...change } = event
        return { ...written, ...change }
      }
      case "ProjectArchived":
        return { ...written, status: "archived" }
    }
  },
}

/** The actor; its ids are `proj_…`. */
export const Project = Actor.make("project", {
  state: ProjectState,
  events: [eventType(ProjectCreated), eventType(ProjectChanged), eventType(ProjectArchived)],
  commands,
})

export const ProjectLive = Project.toLayer(ProjectBehavior)
