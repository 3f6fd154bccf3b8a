//! What is known of a token once it was looked at.

use engenho_authz::Identity;

/// A token that names somebody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// Whom it names.
    pub identity: Identity,
    /// For which of the wanted audiences it is good; empty if its kind knows no audiences.
    pub audiences: Vec<String>,
    /// What its sender is to be warned of.
    pub warnings: Vec<String>,
    /// What the audit log is told.
    pub annotations: Vec<(String, String)>,
    /// The Secret that holds the token, namespace and name, if its use is noted there.
    pub used_secret: Option<(String, String)>,
}

/// A token that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected<E> {
    /// It is of no kind that is known here: somebody else may know it.
    #[error("the token is of another kind")]
    Unknown,
    /// It is not valid. The text is upstream's, as a TokenReview tells it.
    #[error("{text}")]
    Invalid {
        /// Why.
        text: String,
        /// Whether objects spoke against it: a newer look at them may say otherwise.
        by_objects: bool,
    },
    /// The objects cannot be read.
    #[error("objects cannot be read")]
    Objects(E),
}

impl<E> Rejected<E> {
    /// Not valid, whatever the objects say.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid {
            text: text.into(),
            by_objects: false,
        }
    }

    /// Not valid by the objects that it is bound to.
    pub(crate) fn unbound(text: impl Into<String>) -> Self {
        Self::Invalid {
            text: text.into(),
            by_objects: true,
        }
    }
}

/// The audiences of `own` that are wanted, each once, in the order of `own`.
pub fn common_audiences(own: &[String], wanted: &[String]) -> Vec<String> {
    let mut common: Vec<String> = Vec::new();
    for audience in own {
        if wanted.contains(audience) && !common.contains(audience) {
            common.push(audience.clone());
        }
    }
    common
}
