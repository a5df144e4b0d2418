//! Limits in `[policies.NAME]`.

use super::Reader;
use crate::toml::{Section, Zero};
use policy::compile::Limits;
use policy::engine::{MAX_INSTANCES, MAX_MEMORY, MAX_TABLE_ELEMENTS};
use policy::settings::PolicyLimits;

/// Maximum length of a text that each connection may hold many times, in bytes.
const LARGEST_TEXT: usize = 4 << 10;

impl Reader<'_> {
    pub(super) fn policy_limits(&mut self, section: &mut Section<'_>) -> PolicyLimits {
        let default = PolicyLimits::default();
        let mut duration = |key, default| section.duration(key, default, Zero::Refused);
        let timeout = duration("timeout", default.timeout);
        let queue_timeout = duration("queue_timeout", default.queue_timeout);
        let mut count = |key, default| section.count(key, default, Zero::Refused);
        let max_calls = count("max_calls", default.max_calls);
        let max_counters = count("max_counters", default.max_counters);
        PolicyLimits {
            timeout,
            queue_timeout,
            max_calls,
            max_queue: section.count("max_queue", default.max_queue, Zero::Allowed),
            max_memory: self.max_memory(section, default.max_memory),
            max_table_elements: self.at_most(
                section,
                "max_table_elements",
                default.max_table_elements,
                MAX_TABLE_ELEMENTS,
            ),
            max_instances: self.at_most(
                section,
                "max_instances",
                default.max_instances,
                MAX_INSTANCES,
            ),
            hostcall_fuel: section.memory("hostcall_fuel", default.hostcall_fuel),
            max_log_lines: section.count("max_log_lines", default.max_log_lines, Zero::Allowed),
            max_log_bytes: section.memory("max_log_bytes", default.max_log_bytes),
            max_message: self.text_limit(section, "max_message", default.max_message),
            max_attribute: self.text_limit(section, "max_attribute", default.max_attribute),
            max_counters,
            compile: Limits {
                memory: section.memory("compile_memory", default.compile.memory),
                time: section.duration("compile_time", default.compile.time, Zero::Refused),
            },
        }
    }

    fn at_most(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        default: usize,
        most: usize,
    ) -> usize {
        let place = section.place_of(key);
        let count = section.count(key, default, Zero::Refused);
        if count > most {
            let message = format!("`{key}` is more than the engine has room for");
            self.error(&place, message, format!("write at most {most}"));
            return default;
        }
        count
    }

    fn text_limit(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        default: usize,
    ) -> usize {
        let place = section.place_of(key);
        let bytes = section.memory(key, default);
        if bytes > LARGEST_TEXT {
            let message = format!("`{key}` is more than a connection carries");
            self.error(&place, message, "write at most \"4KiB\"");
            return default;
        }
        bytes
    }

    fn max_memory(&mut self, section: &mut Section<'_>, default: usize) -> usize {
        let place = section.place_of("max_memory");
        let bytes = section.memory("max_memory", default);
        if bytes > MAX_MEMORY {
            let message = "`max_memory` is more than the engine has room for";
            self.error(&place, message, "write at most \"512MiB\"");
            return default;
        }
        bytes
    }
}
