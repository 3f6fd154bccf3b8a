//! Why a write is not admitted.

/// What is answered to a write that is not admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal<E> {
    /// Status 403, reason `Forbidden`, about the resource of the request and [`crate::Request::shown_name`]. The
    /// message is what follows `is forbidden: `.
    Forbidden {
        /// Why.
        message: String,
    },
    /// Status 404, reason `NotFound`, about an object that the write depends on.
    NotFound {
        /// API group of what is missing.
        group: String,
        /// Plural name of its resource.
        resource: String,
        /// Its name.
        name: String,
    },
    /// What the plugins have to know could not be read.
    Lookup(E),
}

impl<E> Refusal<E> {
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::Forbidden {
            message: message.into(),
        }
    }

    pub(crate) fn not_found(group: &str, resource: &str, name: &str) -> Self {
        Self::NotFound {
            group: group.to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl<E> From<E> for Refusal<E> {
    fn from(error: E) -> Self {
        Self::Lookup(error)
    }
}
