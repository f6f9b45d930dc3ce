//! Where answers of BuildKit's speak to people, or name images.
//!
//! `gateway` changes texts in them for the policies that show things by other names. What must stay true: whatever text of an
//! answer an image's name may get into is here, or the method is not for such policies.

use super::E;
use crate::api::shape::{Kind, LABELS, Object, n};

/// Those of the messages that this method answers with; none: it has none.
pub fn texts(endpoint: E) -> Option<&'static Object> {
    TEXTS.iter().find(|(one, _)| *one == endpoint).map(|(_, shape)| *shape)
}

const TEXTS: &[(E, &Object)] = &[
    (E::Solve, &[n(1, "ExporterResponse", LABELS)]),
    (
        E::SolveStatus,
        &[
            n(1, "vertexes", Kind::Object(&[n(3, "name", Kind::Str), n(7, "error", Kind::Str)])),
            n(2, "statuses", Kind::Object(&[n(1, "ID", Kind::Str), n(3, "name", Kind::Str)])),
        ],
    ),
    (E::ListenBuildHistory, &[n(2, "record", Kind::Object(RECORD))]),
    (E::BridgeSolve, &[n(3, "result", Kind::Object(RESULT))]),
    (E::ResolveImageConfig, &[n(3, "Ref", Kind::Str)]),
    (E::ResolveSourceMeta, &[n(1, "Source", Kind::Object(&[n(1, "identifier", Kind::Str)]))]),
];

/// A map's entry is a message of a key and a value.
const RESULT: &Object = &[
    n(3, "ref", Kind::Object(RESULT_REF)),
    n(
        4,
        "refs",
        Kind::Object(&[n(1, "refs", Kind::Object(&[n(2, "value", Kind::Object(RESULT_REF))]))]),
    ),
    n(12, "attestations", Kind::Object(&[n(2, "value", Kind::Object(ATTESTATIONS))])),
];

/// With its graph, which a client builds on (buildx, where a target is the context of another).
const RESULT_REF: &Object = &[n(2, "def", Kind::Object(DEFINITION))];

/// Its operations, the ones that others read first, are called by their digests (`DefinitionOp` of BuildKit's client/llb).
const DEFINITION: &Object = &[
    n(1, "def", Kind::List(&Kind::Encoded(OP))),
    n(
        2,
        "metadata",
        Kind::Object(&[
            n(1, "key", Kind::Str),
            n(
                2,
                "value",
                Kind::Object(&[
                    n(2, "description", LABELS),
                    n(6, "progress_group", Kind::Object(&[n(2, "name", Kind::Str)])),
                ]),
            ),
        ]),
    ),
    n(3, "Source", Kind::Object(&[n(1, "locations", Kind::Object(&[n(1, "key", Kind::Str)]))])),
];

const OP: &Object = &[
    n(1, "inputs", Kind::Object(&[n(1, "digest", Kind::Str)])),
    n(3, "source", Kind::Object(&[n(1, "identifier", Kind::Str)])),
];

const ATTESTATIONS: &Object =
    &[n(1, "attestation", Kind::Object(&[n(3, "ref", Kind::Object(RESULT_REF))]))];

const RECORD: &Object = &[
    n(3, "FrontendAttrs", LABELS),
    n(4, "Exporters", Kind::Object(&[n(2, "Attrs", LABELS)])),
    n(5, "error", Kind::Object(STATUS_TEXTS)),
    n(9, "ExporterResponse", LABELS),
];

/// Of `google.rpc.Status`, which is how a call has failed; its details are of types of their own.
pub const STATUS_TEXTS: &Object = &[n(2, "message", Kind::Str)];
