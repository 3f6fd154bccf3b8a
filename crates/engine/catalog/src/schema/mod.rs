//! Schemas of objects: one node type for built-in kinds and for custom resources, and a handle that walks it.

pub mod definitions;
mod handle;
mod json;
mod node;
mod render;
mod text;
mod zeros;

pub use handle::Schema;
pub use json::{SchemaError, Unknown};
pub use node::{ListKind, MapKind, Node, PatchStrategy, Reference, SchemaType};
pub use render::{Dialect, Rendered};
pub use text::TextError;
pub use zeros::Zero;
