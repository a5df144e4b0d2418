//! Division of the process's file descriptors among connections, upstreams and parked streams.

use super::shares::FAIR_PART;

/// File descriptors reserved for everything but connections: listeners, logs, the runtime, one
/// policy or key file.
const RESERVED: u64 = 64;
/// Minimum number of descriptors to plan for the upstream of one connection.
const LEAST_UPSTREAM: u64 = 1;
/// Divisor: all parked streams together may hold half of the upstreams' descriptors.
const PARKED_PART: usize = 2;

/// Raises the soft limit of file descriptors to the hard one.
///
/// # Errors
/// If the limit cannot be read.
pub fn raise_descriptor_limit() -> std::io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// Number of connections, upstreams and parked streams that the file descriptors allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Connections that may be admitted at once. At least one.
    pub places: usize,
    /// Descriptors of their upstreams, together.
    pub upstreams: usize,
    /// Streams that may be parked at once.
    pub parked: usize,
    /// Parked streams of one client.
    pub parked_per_client: usize,
}

/// Configured limits, before they are adapted to the file descriptors.
#[derive(Debug, Clone, Copy)]
pub struct ConfiguredCapacity {
    /// `max_connections`
    pub places: usize,
    /// `max_refusals`
    pub refusals: usize,
    /// `max_parked`
    pub parked: usize,
    /// `max_parked_per_client`
    pub parked_per_client: Option<usize>,
    /// Maximum number of descriptors of the upstream of one stream.
    pub per_upstream: u32,
    /// Idle connections to backends in the connection pools.
    pub warm: usize,
    /// Connections to services that policies ask, at the most.
    pub services: usize,
}

impl Capacity {
    /// Limits that this many descriptors allow.
    #[must_use]
    pub fn of(descriptors: u64, wanted: &ConfiguredCapacity) -> Self {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let left = descriptors
            .saturating_sub(RESERVED)
            .saturating_sub(number(wanted.refusals))
            .saturating_sub(number(wanted.warm));
        // However many requests may wait, connections keep half of the descriptors.
        let left = left - number(wanted.services).min(left / 2);
        let per_upstream = u64::from(wanted.per_upstream).max(LEAST_UPSTREAM);
        let allowed = usize::try_from(left / (1 + per_upstream)).unwrap_or(usize::MAX);
        let places = wanted.places.min(allowed).max(1);
        // Descriptors that the places do not need are left to parked streams.
        let upstreams = usize::try_from(left).unwrap_or(usize::MAX);
        let upstreams = upstreams.saturating_sub(places).max(1);
        let each = usize::try_from(per_upstream).unwrap_or(usize::MAX);
        let parked = wanted.parked.min(upstreams / PARKED_PART / each);
        let fair = (parked / FAIR_PART).max(1);
        Self {
            places,
            upstreams,
            parked,
            parked_per_client: match wanted.parked {
                // All wanted streams can be parked.
                all if all == parked => wanted.parked_per_client.unwrap_or(usize::MAX),
                _ => wanted.parked_per_client.unwrap_or(usize::MAX).min(fair),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: ConfiguredCapacity = ConfiguredCapacity {
        places: 10_000,
        refusals: 256,
        parked: 1000,
        parked_per_client: Some(100),
        per_upstream: 1,
        warm: 0,
        services: 0,
    };

    #[test]
    fn the_descriptors_bound_the_places() {
        let places = |descriptors, wanted| Capacity::of(descriptors, &wanted).places;
        assert_eq!(places(1024, WANTED), 352);
        let few = ConfiguredCapacity {
            places: 100,
            ..WANTED
        };
        assert_eq!(places(1024, few), 100);
        assert_eq!(places(10, few), 1);
        // A recording, a backend and a file for what it misses.
        let three = ConfiguredCapacity {
            per_upstream: 3,
            warm: 4,
            ..WANTED
        };
        assert_eq!(places(1024, three), 175);
    }

    #[test]
    fn connections_to_services_come_out_of_the_places_and_leave_half_of_them() {
        let places = |services| {
            let wanted = ConfiguredCapacity { services, ..WANTED };
            Capacity::of(1024, &wanted).places
        };
        assert_eq!(places(200), 252);
        assert_eq!(places(usize::MAX), 176);
    }

    #[test]
    fn connections_refusals_and_upstreams_never_need_more_than_there_is() {
        for descriptors in 400..2000_u64 {
            for per_upstream in 0..4 {
                for places in [1, 50, 10_000] {
                    let wanted = ConfiguredCapacity {
                        places,
                        per_upstream,
                        warm: 6,
                        ..WANTED
                    };
                    let room = Capacity::of(descriptors, &wanted);
                    let used = room.places + wanted.refusals + room.upstreams + wanted.warm;
                    assert!(used as u64 + RESERVED <= descriptors, "{room:?}");
                    let parked = room.parked * per_upstream as usize;
                    assert!(parked * 2 <= room.upstreams, "{room:?}");
                    assert!(room.parked_per_client <= room.parked.max(1), "{room:?}");
                }
            }
        }
    }

    #[test]
    fn parked_streams_of_one_client_are_few_where_descriptors_are() {
        let room = Capacity::of(512, &WANTED);
        assert_eq!((room.places, room.upstreams), (96, 96));
        assert_eq!((room.parked, room.parked_per_client), (48, 6));
        let room = Capacity::of(1 << 20, &WANTED);
        assert_eq!((room.parked, room.parked_per_client), (1000, 100));
    }
}
