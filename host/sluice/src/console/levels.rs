//! Levels of the streams that a console shows.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use gateway::connections::{Connections, Level, Listener};

/// Level below which there is silence, in dB of full scale.
const SILENCE: f32 = -96.0;

/// Listeners to the streams that a console shows.
#[derive(Debug, Default)]
pub(super) struct Levels(HashMap<Arc<str>, Heard>);

/// Listener to a stream, and the number of levels that were told.
#[derive(Debug)]
struct Heard {
    listener: Listener,
    told: u64,
}

/// Levels by session id, each of 100 ms: RMS and peak, in dB of full scale.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    levels: HashMap<String, Vec<[f32; 2]>>,
}

impl Levels {
    /// Listens to these sessions from now on, and to no others.
    pub(super) fn listen<'a>(
        &mut self,
        connections: &Connections,
        ids: impl Iterator<Item = &'a str>,
    ) {
        let mut before = std::mem::take(&mut self.0);
        for id in ids {
            let heard = before.remove(id).or_else(|| {
                let listener = connections.listen(id)?;
                Some(Heard { listener, told: 0 })
            });
            if let Some(heard) = heard {
                self.0.insert(id.into(), heard);
            }
        }
    }

    /// The levels since the last time; `None` if nobody is listened to.
    pub(super) fn tell(&mut self) -> Option<Told> {
        if self.0.is_empty() {
            return None;
        }
        let levels = self.0.iter_mut().map(|(id, heard)| {
            let (told, levels) = heard.listener.since(heard.told);
            heard.told = told;
            let levels = levels
                .iter()
                .map(|Level { rms, peak }| [decibels(*rms), decibels(*peak)]);
            (id.to_string(), levels.collect())
        });
        Some(Told {
            levels: levels.collect(),
        })
    }
}

/// A level in dB of full scale, in tenths.
fn decibels(level: f32) -> f32 {
    let decibels = 20.0 * level.log10();
    (decibels.max(SILENCE) * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_scale_is_zero_and_silence_has_an_end() {
        for (level, expected) in [(1.0, 0.0), (0.5, -6.0), (0.1, -20.0), (0.0, -96.0)] {
            assert_eq!(decibels(level), expected, "{level}");
        }
    }
}
