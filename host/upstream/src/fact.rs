//! Names of facts about a connection, as templates have them in braces: `param.meeting_id`,
//! `query.source`, `auth.user_id`.

use base::credentials;
use session::facts::{Credentials, Facts};

/// Fact about a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Parameter of the route's path.
    Param(String),
    /// Query parameter; absent if the client left it out.
    Query(String),
    /// Attribute that a policy set, by its full name.
    Attribute(String),
}

/// Reason why a name is not that of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactError {
    /// No fact has this name.
    Unknown,
    /// The fact is a credential.
    Secret,
}

impl Fact {
    /// Parses a name.
    ///
    /// # Errors
    /// [`FactError`].
    pub fn parse(name: &str) -> Result<Self, FactError> {
        match name.split_once('.') {
            Some((_, "")) | Some(("", _)) | None => Err(FactError::Unknown),
            Some(("param", param)) => Ok(Self::Param(param.to_owned())),
            Some(("query", query)) if credentials::is_parameter(query) => Err(FactError::Secret),
            Some(("query", query)) => Ok(Self::Query(query.to_owned())),
            Some(("header", _)) => Err(FactError::Unknown),
            Some(_) => Ok(Self::Attribute(name.to_owned())),
        }
    }

    /// Value of the fact for one connection, if it has one.
    #[must_use]
    pub fn value(&self, facts: &Facts) -> Option<String> {
        match self {
            Self::Param(name) => facts.param(name).map(str::to_owned),
            Self::Query(name) => facts
                .query(name, Credentials::Withheld)
                .map(std::borrow::Cow::into_owned),
            Self::Attribute(name) => facts.attribute(name),
        }
    }
}
