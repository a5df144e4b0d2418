//! Names of a connection's facts, as templates have them in braces: `param.meeting_id`,
//! `query.source`, `auth.user_id`.

use base::credentials;
use session::facts::{Credentials, Facts};

/// One fact of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A parameter of the route's path.
    Param(String),
    /// A parameter of the query; nothing where the client left it out.
    Query(String),
    /// An attribute that a policy left, by its full name.
    Attribute(String),
}

/// Why a name is not that of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactError {
    /// Nothing is called so.
    Unknown,
    /// It must stay with the host.
    Secret,
}

impl Fact {
    /// Reads a name.
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

    /// Its value for one connection, where there is one.
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
