//! Answers that are kept, bounded in number and bytes. Those that were not used for the longest time
//! give way.
//!
//! A client may make up as many names that the service does not know as it likes. So answers that
//! say "not found" have a part of their own, and push out no other.

use std::sync::Arc;

use lru::LruCache;
use tokio::time::Instant;

use super::request::Call;

/// Bytes that an entry takes beside its texts, about.
const OVERHEAD: usize = 256;
/// Divisor of the room for answers that say "not found".
const NOT_FOUND_PART: usize = 8;

/// Answer as the service gave it.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) status: u16,
    pub(super) body: Arc<str>,
    pub(super) at: Instant,
}

/// Answers by request. A request has one at the most.
pub(super) struct Cache {
    found: Part,
    not_found: Part,
}

impl Cache {
    /// Room for so many answers, and so many bytes.
    pub(super) fn new(max_entries: usize, max_bytes: usize) -> Self {
        let (entries, bytes) = (max_entries / NOT_FOUND_PART, max_bytes / NOT_FOUND_PART);
        Self {
            found: Part::new(max_entries - entries, max_bytes - bytes),
            not_found: Part::new(entries, bytes),
        }
    }

    /// The answer to a request, however old.
    pub(super) fn get(&mut self, call: &Call) -> Option<Arc<Given>> {
        self.found.get(call).or_else(|| self.not_found.get(call))
    }

    /// Keeps an answer in the place of an older one, unless it is too large.
    pub(super) fn put(&mut self, call: Call, given: Arc<Given>) {
        self.forget(&call);
        match given.status {
            404 | 410 => self.not_found.put(call, given),
            _ => self.found.put(call, given),
        }
    }

    /// Drops the answer to a request, because the service has said something else since.
    pub(super) fn forget(&mut self, call: &Call) {
        self.found.forget(call);
        self.not_found.forget(call);
    }
}

/// Answers that make room for each other.
struct Part {
    /// Without a bound of its own, which would be allocated in advance.
    entries: LruCache<Call, Arc<Given>>,
    max_entries: usize,
    bytes: usize,
    max_bytes: usize,
}

impl Part {
    fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self {
            entries: LruCache::unbounded(),
            max_entries,
            bytes: 0,
            max_bytes,
        }
    }

    fn get(&mut self, call: &Call) -> Option<Arc<Given>> {
        self.entries.get(call).cloned()
    }

    fn forget(&mut self, call: &Call) {
        if let Some(given) = self.entries.pop(call) {
            self.bytes -= weight(call, &given);
        }
    }

    /// Adds an answer to a request that has none here.
    fn put(&mut self, call: Call, given: Arc<Given>) {
        let weight = weight(&call, &given);
        if weight > self.max_bytes {
            return;
        }
        self.bytes += weight;
        self.entries.put(call, given);
        while (self.bytes > self.max_bytes || self.entries.len() > self.max_entries)
            && let Some((call, given)) = self.entries.pop_lru()
        {
            self.bytes -= self::weight(&call, &given);
        }
    }
}

fn weight(call: &Call, given: &Given) -> usize {
    OVERHEAD + call.weight() + given.body.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: usize) -> Call {
        Call {
            url: format!("http://127.0.0.1/{number:04}"),
            body: None,
        }
    }

    fn given(bytes: usize) -> Arc<Given> {
        Arc::new(Given {
            status: 200,
            body: "x".repeat(bytes).into(),
            at: Instant::now(),
        })
    }

    #[test]
    fn entries_and_bytes_are_bounded() {
        let mut cache = Part::new(10, 1 << 20);
        (0..100).for_each(|number| cache.put(call(number), given(1)));
        assert_eq!(cache.entries.len(), 10);
        assert!(cache.get(&call(99)).is_some() && cache.get(&call(0)).is_none());

        let mut cache = Part::new(1000, 10_000);
        (0..100).for_each(|number| cache.put(call(number), given(1000)));
        assert!(
            cache.bytes <= 10_000 && cache.entries.len() == 7,
            "{}",
            cache.bytes
        );
        cache.put(call(1), given(20_000));
        assert!(cache.get(&call(1)).is_none());
        (100..200).for_each(|number| cache.put(call(number), given(9000)));
        assert_eq!(cache.entries.len(), 1);
    }

    fn not_found() -> Arc<Given> {
        Arc::new(Given {
            status: 404,
            body: "".into(),
            at: Instant::now(),
        })
    }

    #[test]
    fn a_request_has_one_answer_and_it_takes_no_more_room_when_it_is_given_again() {
        let mut cache = Cache::new(100, 10_000);
        let bytes = |cache: &Cache| (cache.found.bytes, cache.not_found.bytes);
        cache.put(call(1), given(1000));
        let before = bytes(&cache);
        cache.put(call(1), given(1000));
        assert_eq!(bytes(&cache), before);
        cache.put(call(1), not_found());
        assert_eq!(cache.get(&call(1)).unwrap().status, 404);
        assert_eq!(cache.found.bytes, 0);
        cache.put(call(1), given(1));
        assert_eq!(cache.get(&call(1)).unwrap().status, 200);
        // One that cannot be kept leaves no older one either.
        cache.put(call(1), given(20_000));
        assert!(cache.get(&call(1)).is_none());
        assert_eq!(bytes(&cache), (0, 0));
    }

    #[test]
    fn names_that_the_service_does_not_know_push_out_no_answer_about_those_that_it_knows() {
        let mut cache = Cache::new(80, 1 << 20);
        (0..70).for_each(|number| cache.put(call(number), given(10)));
        (1000..9000).for_each(|number| cache.put(call(number), not_found()));
        assert!((0..70).all(|number| cache.get(&call(number)).is_some()));
        assert_eq!(cache.not_found.entries.len(), 10);
    }

    #[test]
    fn room_for_any_number_of_answers_is_not_taken_in_advance() {
        let mut cache = Cache::new(usize::MAX, 10_000);
        cache.put(call(1), given(1));
        assert!(cache.get(&call(1)).is_some());
    }
}
