//! Answers that are kept, bounded in number and bytes. Those that were not used for the longest time
//! give way.

use std::num::NonZero;
use std::sync::Arc;

use lru::LruCache;
use tokio::time::Instant;

use super::request::Call;

/// Bytes that an entry takes beside its texts, about.
const OVERHEAD: usize = 256;

/// Answer as the service gave it.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) status: u16,
    pub(super) body: Arc<str>,
    pub(super) at: Instant,
}

/// Answers by request.
pub(super) struct Cache {
    entries: LruCache<Call, Arc<Given>>,
    bytes: usize,
    max_bytes: usize,
}

impl Cache {
    /// Room for so many answers, and so many bytes.
    pub(super) fn new(max_entries: usize, max_bytes: usize) -> Self {
        let max_entries = NonZero::new(max_entries).unwrap_or(NonZero::<usize>::MIN);
        Self {
            entries: LruCache::new(max_entries),
            bytes: 0,
            max_bytes,
        }
    }

    /// The answer to a request, however old.
    pub(super) fn get(&mut self, call: &Call) -> Option<Arc<Given>> {
        self.entries.get(call).cloned()
    }

    /// Keeps an answer, unless it is too large.
    pub(super) fn put(&mut self, call: Call, given: Arc<Given>) {
        let weight = weight(&call, &given);
        if weight > self.max_bytes {
            return;
        }
        self.bytes += weight;
        // What gives way is an older answer to the same request, or another one.
        if let Some((call, given)) = self.entries.push(call, given) {
            self.bytes -= self::weight(&call, &given);
        }
        while self.bytes > self.max_bytes
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
        let mut cache = Cache::new(10, 1 << 20);
        (0..100).for_each(|number| cache.put(call(number), given(1)));
        assert_eq!(cache.entries.len(), 10);
        assert!(cache.get(&call(99)).is_some() && cache.get(&call(0)).is_none());

        let mut cache = Cache::new(1000, 10_000);
        (0..100).for_each(|number| cache.put(call(number), given(1000)));
        assert!(
            cache.bytes <= 10_000 && cache.entries.len() == 7,
            "{}",
            cache.bytes
        );
        cache.put(call(1), given(20_000));
        assert!(cache.get(&call(1)).is_none());
        // The same request again takes no more room.
        let before = cache.bytes;
        cache.put(call(99), given(1000));
        assert_eq!(cache.bytes, before);
        (100..200).for_each(|number| cache.put(call(number), given(9000)));
        assert_eq!(cache.entries.len(), 1);
    }
}
