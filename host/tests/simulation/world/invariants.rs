//! What must be so whenever something happens.

use super::{Link, World};

impl World {
    /// The host has taken bytes from the transport.
    pub fn has_read(&self, me: usize) {
        match self.link(me) {
            Link::Held => {
                let fault = "the host reads while the upstream is not ready";
                self.trace.fault(me, fault);
            }
            Link::Ready => self.has_room(me, "the host reads"),
            Link::Never | Link::Sealing | Link::Gone => {}
        }
    }

    /// The link is about to say something.
    pub fn emits(&self, me: usize, bytes: usize) {
        self.has_room(me, "the host asks the upstream for more");
        self.lock().connections[me].emitted += bytes;
    }

    /// What waits for the client, answers not counted, is within its bound.
    fn has_room(&self, me: usize, what: &str) {
        let waits = {
            let connection = &self.lock().connections[me];
            connection.emitted.saturating_sub(connection.written)
        };
        if waits >= self.schedule.bounds.max_outbound {
            self.trace.fault(
                me,
                format!("{what} while {waits} bytes wait for the client"),
            );
        }
    }

    /// What must be so when a Close is written.
    pub(super) fn closes(&self, me: usize, link: Link) {
        if matches!(link, Link::Held | Link::Ready) {
            self.trace
                .fault(me, "the Close came before the upstream was sealed");
        }
        let claimed = self.lock().connections[me].claimed.clone();
        for key in claimed {
            if self.holder(&key) == Some(me) {
                self.trace
                    .fault(me, format!("the Close came before {key} was released"));
            }
        }
        if self.schedule.connections.len() == 1 && self.free_places() < self.schedule.places {
            let fault = "the Close came before the connection's place was released";
            self.trace.fault(me, fault);
        }
    }

    /// The link of a connection opens: nobody else may be writing under any
    /// key that it holds.
    pub fn link_opens(&self, me: usize) {
        let (claimed, undone) = {
            let connection = &self.lock().connections[me];
            (connection.claimed.clone(), connection.undone.clone())
        };
        for key in undone.iter().filter(|key| !claimed.contains(key)) {
            if self.holder(key) == Some(me) {
                let fault = format!("{key} stayed claimed by a policy that failed");
                self.trace.fault(me, fault);
            }
        }
        let held: Vec<String> = claimed
            .into_iter()
            .filter(|key| self.holder(key) == Some(me))
            .collect();
        let mut live = self.lock();
        for (other, connection) in live.connections.iter().enumerate() {
            let open = match connection.link {
                Link::Held | Link::Ready => true,
                Link::Sealing => self.trace.now() < connection.sealing_until,
                Link::Never | Link::Gone => false,
            };
            if other != me && open && connection.exclusive.iter().any(|key| held.contains(key)) {
                self.trace.fault(
                    me,
                    format!("the link opens while that of {other} writes under the same key"),
                );
            }
        }
        live.connections[me].exclusive = held;
    }

    /// The link of a connection is sealed or gone: its claims must not have
    /// been free for anybody until now, unless the host had to give up waiting.
    pub fn link_ends(&self, me: usize) {
        let (exclusive, given_up) = {
            let connection = &self.lock().connections[me];
            let sealing = connection.link == Link::Sealing;
            let given_up = sealing && self.trace.now() >= connection.sealing_until;
            (connection.exclusive.clone(), given_up)
        };
        for key in exclusive {
            if !given_up && self.holder(&key).is_none() {
                self.trace
                    .fault(me, format!("{key} was released before the link ended"));
            }
        }
        self.set_link(me, Link::Gone);
    }
}
