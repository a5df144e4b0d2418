/// Something that is known of a connection, by the name that an operator
/// gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Route,
    Path,
    Param(String),
    Query(String),
    Header(String),
    /// By its full name: `auth.tenant_id`.
    Attribute(String),
}

impl Fact {
    /// `None` where the name means nothing.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "route" => return Some(Self::Route),
            "path" => return Some(Self::Path),
            _ => {}
        }
        let (owner, rest) = name.split_once('.')?;
        if owner.is_empty() || rest.is_empty() {
            return None;
        }
        Some(match owner {
            "param" => Self::Param(rest.to_owned()),
            "query" => Self::Query(rest.to_owned()),
            "header" => Self::Header(rest.to_owned()),
            _ => Self::Attribute(name.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Fact;

    #[test]
    fn the_word_before_the_dot_says_where_a_fact_comes_from() {
        assert_eq!(Fact::parse("route"), Some(Fact::Route));
        assert_eq!(Fact::parse("path"), Some(Fact::Path));
        assert_eq!(
            Fact::parse("param.meeting_id"),
            Some(Fact::Param("meeting_id".into()))
        );
        assert_eq!(
            Fact::parse("query.source"),
            Some(Fact::Query("source".into()))
        );
        assert_eq!(
            Fact::parse("header.x-room"),
            Some(Fact::Header("x-room".into()))
        );
        assert_eq!(
            Fact::parse("auth.tenant_id"),
            Some(Fact::Attribute("auth.tenant_id".into()))
        );
    }

    #[test]
    fn a_name_that_means_nothing_is_no_fact() {
        for name in ["", "meeting_id", "param.", ".tenant_id", ".", "Route"] {
            assert_eq!(Fact::parse(name), None, "{name:?}");
        }
    }
}
