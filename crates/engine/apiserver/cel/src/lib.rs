//! The Common Expression Language as the API server of Kubernetes 1.34 uses it: in the rules of custom resources'
//! schemas, in admission policies, and in the match conditions of webhooks.
//!
//! [`compile`] reads an expression and checks it against an [`Environment`]; [`Program::evaluate`] gives its value for
//! [`Bindings`], within a [`Budget`]. Nothing here looks at a clock or waits. Expressions come from users: every walk
//! over them or over values is bounded.
//!
//! The grammar is read by the `cel` crate; types, functions, costs and messages are those of Kubernetes.

mod authorizer;
mod bindings;
mod check;
mod convert;
mod declarations;
mod environment;
mod error;
mod estimate;
mod eval;
mod expr;
mod format;
mod formats;
mod functions;
mod json;
mod macros;
mod meter;
mod net;
mod operators;
mod parse;
mod patterns;
mod program;
mod schema;
mod semver;
mod text;
mod time;
mod types;
mod url;
mod value;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use authorizer::{Authorizer, Decision, GroupCheck, Identity, PathCheck, Question, ResourceCheck, Target};
pub use bindings::Bindings;
pub use environment::Environment;
pub use error::{CompileError, EvalError, Issue};
pub use estimate::{max_cardinality, max_elements, min_serialized_bytes};
pub use formats::NamedFormat;
pub use meter::Budget;
pub use net::Cidr;
pub use program::{Program, compile, fuzz};
pub use schema::{RESERVED, escape, type_of_schema, unescape};
pub use semver::Version;
pub use time::{Duration, Offset, Timestamp};
pub use types::{StructType, Type};
pub use url::Url;
pub use value::{Key, List, Map, Text, Value};
