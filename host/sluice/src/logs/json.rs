//! Log lines as JSON, one object a line.
//!
//! The formatter of `tracing-subscriber` parses a span's fields again for every line that is
//! written in it. Here they are members of an object as they stand, and a line pastes them.

use std::fmt;

use serde::ser::{SerializeMap as _, Serializer as _};
use serde_json::Serializer;
use tracing::{Event, Subscriber};
use tracing_serde::{AsSerde as _, SerdeMapVisitor};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use base::instance;

/// Bytes that most lines have room in.
const USUAL: usize = 1024;

/// Fields of a span, as members of a JSON object without its braces.
pub(super) struct Members;

impl<'writer> FormatFields<'writer> for Members {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut object = Vec::new();
        let mut serializer = Serializer::new(&mut object);
        let map = serializer.serialize_map(None).map_err(|_| fmt::Error)?;
        let mut visitor = SerdeMapVisitor::new(map);
        fields.record(&mut visitor);
        visitor.finish().map_err(|_| fmt::Error)?;
        let object = str::from_utf8(&object).map_err(|_| fmt::Error)?;
        let members = object.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
        writer.write_str(members.unwrap_or_default())
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        if !current.fields.is_empty() {
            current.fields.push(',');
        }
        self.format_fields(current.as_writer(), fields)
    }
}

/// A line: its instance, time, level, fields, target and span.
pub(super) struct Line;

impl<S> FormatEvent<S, Members> for Line
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Members>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let metadata = event.metadata();
        let mut line = Vec::with_capacity(USUAL);
        let mut write = || {
            let mut serializer = Serializer::new(&mut line);
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("instance", instance::id())?;
            map.serialize_entry("timestamp", &time)?;
            map.serialize_entry("level", &metadata.level().as_serde())?;
            let mut visitor = SerdeMapVisitor::new(map);
            event.record(&mut visitor);
            map = visitor.take_serializer()?;
            // Not ended: the span follows.
            map.serialize_entry("target", metadata.target())
        };
        write().map_err(|_| fmt::Error)?;
        writer.write_str(str::from_utf8(&line).map_err(|_| fmt::Error)?)?;
        let parent = event.parent().and_then(|id| context.span(id));
        if let Some(span) = parent.or_else(|| context.lookup_current()) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<Members>>();
            let fields = fields.map_or("", |fields| fields.as_str());
            let comma = if fields.is_empty() { "" } else { "," };
            // The name of a span is an identifier of this program.
            write!(
                writer,
                r#","span":{{{fields}{comma}"name":"{}"}}"#,
                span.name()
            )?;
        }
        writer.write_str("}\n")
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::fmt::{self, MakeWriter};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Kept {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// The lines that `log` writes, without their times.
    fn lines(log: impl FnOnce()) -> Vec<Value> {
        let kept = Kept::default();
        let subscriber = fmt::fmt()
            .fmt_fields(Members)
            .event_format(Line)
            .with_writer(kept.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let without_time = |line: &str| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
            assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
            line
        };
        text.lines().map(without_time).collect()
    }

    #[test]
    fn a_line_has_its_fields_beside_its_message() {
        let written = lines(|| tracing::info!(bytes = 7, told = "a \"b\"\n\u{1}ş", "done"));
        let expected = json!({
            "instance": instance::id(), "level": "INFO", "message": "done", "bytes": 7,
            "told": "a \"b\"\n\u{1}ş", "target": module_path!(),
        });
        assert_eq!(written, [expected]);
    }

    #[test]
    fn a_line_in_a_span_has_what_the_span_has_learnt() {
        let written = lines(|| {
            let text = "} \"ends\": {";
            let user = tracing::field::Empty;
            let span = tracing::error_span!("connection", text, user);
            span.in_scope(|| tracing::warn!("first"));
            span.record("user", "{u}");
            span.in_scope(|| tracing::warn!("second"));
        });
        let spans: Vec<_> = written.iter().map(|line| line["span"].clone()).collect();
        let named = json!({"name": "connection", "text": "} \"ends\": {"});
        let mut with_user = named.clone();
        with_user["user"] = json!("{u}");
        assert_eq!(spans, [named, with_user]);
    }

    #[test]
    fn a_span_without_fields_has_its_name() {
        let written = lines(|| {
            let user = tracing::field::Empty;
            let span = tracing::error_span!("bare", user);
            span.in_scope(|| tracing::warn!("first"));
            span.record("user", "u");
            span.in_scope(|| tracing::warn!("second"));
        });
        assert_eq!(written[0]["span"], json!({"name": "bare"}));
        assert_eq!(written[1]["span"], json!({"name": "bare", "user": "u"}));
    }
}
