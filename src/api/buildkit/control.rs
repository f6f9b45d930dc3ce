//! `moby.buildkit.v1.Control`: what clients ask of the builder itself (BuildKit's api/services/control).
//!
//! `api::buildkit` puts these into its rows. What must stay true: every field that BuildKit reads is here.

use super::ops::{DEFINITION, SOURCE_POLICY};
use crate::api::endpoint::Resource;
use crate::api::shape::{Kind, LABELS, Object, STRINGS, n};

pub const SOLVE: &Object = &[
    n(1, "Ref", Kind::Str).names(Resource::BuildId),
    n(2, "Definition", Kind::Object(DEFINITION)),
    n(3, "ExporterDeprecated", Kind::Str),
    n(4, "ExporterAttrsDeprecated", LABELS),
    n(5, "Session", Kind::Str).names(Resource::Session),
    n(6, "Frontend", Kind::Str),
    n(7, "FrontendAttrs", LABELS),
    n(8, "Cache", Kind::Object(CACHE)),
    n(9, "Entitlements", STRINGS),
    n(10, "FrontendInputs", Kind::Map(&Kind::Object(DEFINITION))),
    n(11, "Internal", Kind::Bool),
    n(12, "SourcePolicy", Kind::Object(SOURCE_POLICY)),
    n(13, "Exporters", Kind::List(&Kind::Object(EXPORTER))),
    n(14, "EnableSessionExporter", Kind::Bool),
    n(15, "SourcePolicySession", Kind::Str).names(Resource::Session),
    n(16, "CompatibilityVersion", Kind::Int),
    n(17, "ProxyNetwork", Kind::Bool),
];

const CACHE: &Object = &[
    n(1, "ExportRefDeprecated", Kind::Str),
    n(2, "ImportRefsDeprecated", STRINGS),
    n(3, "ExportAttrsDeprecated", LABELS),
    n(4, "Exports", Kind::List(&Kind::Object(CACHE_ENTRY))),
    n(5, "Imports", Kind::List(&Kind::Object(CACHE_ENTRY))),
];

pub(super) const CACHE_ENTRY: &Object = &[n(1, "Type", Kind::Str), n(2, "Attrs", LABELS)];

const EXPORTER: &Object = CACHE_ENTRY;

pub(super) const STATUS: &Object = &[n(1, "Ref", Kind::Str).names(Resource::BuildId)];

pub(super) const LIST_WORKERS: &Object = &[n(1, "filter", STRINGS)];

pub(super) const DISK_USAGE: &Object = &[n(1, "filter", STRINGS), n(2, "ageLimit", Kind::Int)];

pub(super) const PRUNE: &Object = &[
    n(1, "filter", STRINGS),
    n(2, "all", Kind::Bool),
    n(3, "keepDuration", Kind::Int),
    n(4, "reservedSpace", Kind::Int),
    n(5, "maxUsedSpace", Kind::Int),
    n(6, "minFreeSpace", Kind::Int),
];

pub(super) const HISTORY: &Object = &[
    n(1, "ActiveOnly", Kind::Bool),
    n(2, "Ref", Kind::Str).names(Resource::BuildId),
    n(3, "EarlyExit", Kind::Bool),
    n(4, "Filter", STRINGS),
    n(5, "Limit", Kind::Int32),
];

pub(super) const UPDATE_HISTORY: &Object = &[
    n(1, "Ref", Kind::Str).names(Resource::BuildId),
    n(2, "Pinned", Kind::Bool),
    n(3, "Delete", Kind::Bool),
    n(4, "Finalize", Kind::Bool),
];

/// A line of the history, as far as it says whose build it is and what that build has in the content store.
pub const HISTORY_EVENT: &Object = &[
    n(1, "type", Kind::Int),
    n(
        2,
        "record",
        Kind::Object(&[
            n(1, "Ref", Kind::Str),
            n(8, "logs", Kind::Object(DESCRIPTOR)),
            n(10, "Result", Kind::Object(RESULT)),
            n(11, "Results", Kind::Map(&Kind::Object(RESULT))),
            n(13, "trace", Kind::Object(DESCRIPTOR)),
            n(18, "externalError", Kind::Object(DESCRIPTOR)),
        ]),
    ),
];

const RESULT: &Object = &[
    n(1, "ResultDeprecated", Kind::Object(DESCRIPTOR)),
    n(2, "Attestations", Kind::List(&Kind::Object(DESCRIPTOR))),
];

const DESCRIPTOR: &Object = &[
    n(1, "media_type", Kind::Str),
    n(2, "digest", Kind::Str),
    n(3, "size", Kind::Int),
    n(5, "annotations", LABELS),
];
