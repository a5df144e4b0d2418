use crate::host::sessions;
use crate::{Connection, Rejection};

/// Connection that holds a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Session id of the connection.
    pub session_id: String,
    /// Time of the claim, in milliseconds since 1970.
    pub since_ms: u64,
    /// Current attributes of the connection, by full name.
    pub attributes: Vec<(String, String)>,
}

impl Holder {
    /// Attribute by its full name: `auth.user_id`.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

impl From<sessions::Holder> for Holder {
    fn from(holder: sessions::Holder) -> Self {
        Self {
            session_id: holder.session_id(),
            since_ms: holder.since_ms(),
            attributes: holder.attributes(),
        }
    }
}

impl Connection<'_> {
    /// Claims a key for this connection. The error is its holder. The claim ends with the
    /// connection. Claiming a key twice succeeds.
    pub fn claim(&self, key: &str) -> Result<(), Holder> {
        sessions::claim(self.facts, key).map_err(Into::into)
    }

    /// Takes a key from its holder, if that still holds it, and closes the holder's connection with
    /// `notice`.
    pub fn evict(&self, key: &str, holder: &Holder, notice: Rejection) -> Result<(), Holder> {
        sessions::evict(self.facts, key, &holder.session_id, &notice.into()).map_err(Into::into)
    }
}
